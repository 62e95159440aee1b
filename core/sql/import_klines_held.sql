-- How many rows of `new_chunk` are stored with the same values.
select count(*)
from klines as k
join new_chunk as n on k.symbol = n.symbol and k.ts = n.ts
where
    k.ts between $low and $high
    and k.open = n.open and k.high = n.high and k.low = n.low and k.close = n.close
    and k.volume = n.volume::decimal(38, 8)
    and k.quote_volume = n.quote_volume::decimal(38, 16)
    and k.trades = n.trades
    and k.taker_buy_volume = n.taker_buy_volume::decimal(38, 8)
