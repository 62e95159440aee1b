insert into klines
select
    symbol, ts, open, high, low, close, volume, quote_volume, trades, taker_buy_volume
from new_klines
order by ts, symbol
