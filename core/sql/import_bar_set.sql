insert into uploaded_bar_sets
select $symbol, $timeframe, $origin, $hash, count(*), $low, $high, $now
from uploaded_bars
where symbol = $symbol and timeframe = $timeframe and ts between $low and $high
