-- The new trades' seconds folded into minutes, before those seconds meet the stored ones.
create or replace temp table partial_1min as
select
    symbol,
    date_trunc('minute', ts) as ts,
    arg_min(open, (first_ts, first_id)) as open,
    max(high) as high,
    min(low) as low,
    arg_max(close, (last_ts, last_id)) as close,
    sum(volume) as volume,
    sum(quote_volume) as quote_volume,
    sum(trades)::bigint as trades,
    sum(taker_buy_volume) as taker_buy_volume,
    min(first_ts) as first_ts,
    arg_min(first_id, (first_ts, first_id)) as first_id,
    max(last_ts) as last_ts,
    arg_max(last_id, (last_ts, last_id)) as last_id
from partial_1s
group by symbol, date_trunc('minute', ts)
