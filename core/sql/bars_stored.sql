select
    symbol,
    ts,
    open,
    high,
    low,
    close,
    volume,
    quote_volume,
    trades,
    taker_buy_volume,
    {origin} as origin
from {bars}
where ts >= $start and ts < $end and symbol in (select unnest($symbols))
order by symbol, ts
