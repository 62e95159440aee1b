select dataset, symbol, id, ts, price, size, side
from uploaded_trades
where ts >= $start and ts < $end and symbol = $symbol and dataset = $dataset
order by ts, id, occurrence
limit $limit
