select symbol, agg_id, ts, price, size, buyer_is_maker, source
from trades
where symbol = $symbol and ts >= $start and ts < $end
