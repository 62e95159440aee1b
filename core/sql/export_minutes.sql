select ts, trades
from bars_1min
where symbol = $symbol and ts >= time_bucket(interval 1 minute, $start::timestamp) and ts < $end
order by ts
