select symbol, origin, count(*) as bars, min(ts) as first_ts, max(ts) as last_ts
from ({bars}) as bars
group by symbol, origin
order by symbol, first_ts
