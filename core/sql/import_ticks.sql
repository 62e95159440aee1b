insert into uploaded_trades (dataset, symbol, id, ts, price, size, side, occurrence)
select $dataset, symbol, id, ts, price, size, side, occurrence
from new_chunk
