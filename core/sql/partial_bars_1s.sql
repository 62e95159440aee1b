-- One partial bar a second from the new trades alone; $-free: `new_trades` is sorted by
-- (symbol, ts, agg_id) and `ord` is its row number, so first and last are by (ts, agg_id).
create or replace temp table partial_1s as
select
    symbol,
    date_trunc('second', ts) as ts,
    arg_min(price, ord) as open,
    max(price) as high,
    min(price) as low,
    arg_max(price, ord) as close,
    sum(size::decimal(18, 8)) as volume,
    sum(price::decimal(19, 8) * size::decimal(19, 8)) as quote_volume,
    count(*) as trades,
    sum(case when buyer_is_maker then 0 else size::decimal(18, 8) end) as taker_buy_volume,
    arg_min(ts, ord) as first_ts,
    arg_min(agg_id, ord) as first_id,
    arg_max(ts, ord) as last_ts,
    arg_max(agg_id, ord) as last_id
from new_trades
group by all
