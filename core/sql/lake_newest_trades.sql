select ts, price
from (
    select ts, agg_id, price
    from ({trades}) as trades
    order by ts desc, agg_id desc
    limit $limit
) as newest
order by ts, agg_id
