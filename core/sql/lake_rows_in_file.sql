select symbol, agg_id, ts, price, size, buyer_is_maker, source
from trades
where
    symbol = $symbol and ts >= $first and ts <= $last
    and agg_id in (select agg_id from moved)
