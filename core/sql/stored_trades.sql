select symbol, agg_id, ts, price, size, buyer_is_maker, source
from trades
where ts >= $start and ts < $end and symbol = $symbol
order by ts, agg_id
limit $limit
