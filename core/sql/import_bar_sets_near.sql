select origin, content_hash, first_ts, last_ts
from uploaded_bar_sets
where
    symbol = $symbol and timeframe = $timeframe
    and first_ts <= $high and last_ts >= $low
order by first_ts
