-- How many rows of `new_chunk` are stored with the same values.
select count(*)
from uploaded_bars as b
join new_chunk as n on b.ts = n.ts
where
    b.symbol = $symbol and b.timeframe = $timeframe
    and b.ts between $low and $high
    and b.open = n.open and b.high = n.high and b.low = n.low and b.close = n.close
    and b.volume = n.volume::decimal(38, 8)
