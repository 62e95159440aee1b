select symbol, agg_id, ts, price, size, buyer_is_maker, source
from trades
where symbol = $symbol and ts >= $start and ts < $end
union all
-- The files carry their symbol: what a folder is called need not be understood.
select symbol, agg_id, ts, price, size, buyer_is_maker, source
from read_parquet($paths, hive_partitioning = false)
where symbol = $symbol and ts >= $start and ts < $end
