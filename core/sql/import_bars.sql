merge into uploaded_bars as b
using new_chunk as n
on b.symbol = $symbol and b.timeframe = $timeframe
    and b.ts between $low and $high
    and b.ts = n.ts
when matched then update set
    open = n.open,
    high = n.high,
    low = n.low,
    close = n.close,
    volume = n.volume
when not matched then insert values (
    $symbol, $timeframe, n.ts, n.open, n.high, n.low, n.close, n.volume
)
