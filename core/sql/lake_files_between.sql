select symbol, day, path, lake, trades, sha256
from lake_files
where
    symbol = coalesce($symbol::varchar, symbol)
    and first_ts < $end and last_ts >= $start
order by first_ts, path
