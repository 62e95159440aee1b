-- Fold the new trades' partial bars into the stored ones. {bars} and {partial} come from a
-- literal mapping; the range keeps the scan to the row groups that hold the touched buckets.
merge into {bars} as b
using (from {partial} where ts between $low and $high) as p
on b.ts between $low and $high and b.symbol = p.symbol and b.ts = p.ts
when matched then update set
    open = case when (p.first_ts, p.first_id) < (b.first_ts, b.first_id) then p.open else b.open end,
    high = greatest(b.high, p.high),
    low = least(b.low, p.low),
    close = case when (p.last_ts, p.last_id) > (b.last_ts, b.last_id) then p.close else b.close end,
    volume = b.volume + p.volume,
    quote_volume = b.quote_volume + p.quote_volume,
    trades = b.trades + p.trades,
    taker_buy_volume = b.taker_buy_volume + p.taker_buy_volume,
    first_ts = least(b.first_ts, p.first_ts),
    first_id = case
        when (p.first_ts, p.first_id) < (b.first_ts, b.first_id) then p.first_id else b.first_id
    end,
    last_ts = greatest(b.last_ts, p.last_ts),
    last_id = case
        when (p.last_ts, p.last_id) > (b.last_ts, b.last_id) then p.last_id else b.last_id
    end
when not matched then insert
