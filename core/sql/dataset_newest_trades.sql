select ts, price
from (
    select ts, price, id, occurrence
    from uploaded_trades
    where ts >= $start and ts < $end and symbol = $symbol and dataset = $dataset
    order by ts desc, id desc, occurrence desc
    limit $limit
) as newest
order by ts, id, occurrence
