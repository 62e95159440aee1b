-- What there is of each symbol: from seconds on (trades), from minutes on (klines), or of one
-- timeframe alone (uploaded bars).
select symbol, 'trades' as origin, '1s' as timeframe, min(first_ts) as first_ts, max(last_ts) as last_ts
from coverage
group by symbol
union all
select symbol || '@' || dataset, 'dataset', '1s', first_ts, last_ts
from dataset_symbols
union all
select symbol, 'klines', '1min', min(ts), max(ts) + interval 1 minute
from klines
group by symbol
union all
select symbol, 'upload', timeframe, first_ts, last_ts
from uploaded_bar_sets
order by symbol, origin, timeframe
