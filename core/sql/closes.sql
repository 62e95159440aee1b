select
    symbol,
    ts,
    close,
    volume
from ({bars}) as bars
order by symbol, ts
