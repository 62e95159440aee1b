select
    symbol,
    time_bucket(to_seconds($seconds), ts) as ts,
    arg_min(price, (trades.ts, agg_id)) as open,
    max(price) as high,
    min(price) as low,
    arg_max(price, (trades.ts, agg_id)) as close,
    sum(size::decimal(18, 8)) as volume,
    sum(price::decimal(19, 8) * size::decimal(19, 8)) as quote_volume,
    count(*) as trades,
    sum(case when buyer_is_maker then 0 else size::decimal(18, 8) end) as taker_buy_volume
from ({trades}) as trades
group by symbol, time_bucket(to_seconds($seconds), trades.ts)
order by 2
