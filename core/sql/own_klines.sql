select symbol, count(*) as rows, min(ts) as first_ts, max(ts) + interval 1 minute as last_ts
from klines
group by symbol
order by symbol
