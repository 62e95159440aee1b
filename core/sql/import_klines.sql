merge into klines as k
using new_chunk as n
on k.ts between $low and $high and k.symbol = n.symbol and k.ts = n.ts
when matched then update set
    open = n.open,
    high = n.high,
    low = n.low,
    close = n.close,
    volume = n.volume,
    quote_volume = n.quote_volume,
    trades = n.trades,
    taker_buy_volume = n.taker_buy_volume
when not matched then insert values (
    n.symbol, n.ts, n.open, n.high, n.low, n.close, n.volume, n.quote_volume, n.trades,
    n.taker_buy_volume
)
