select agg_id, price
from trades
where
    symbol = $symbol and ts between $low and $high
    and agg_id in (select unnest($ids::bigint[]))
