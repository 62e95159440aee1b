insert into trades
select symbol, agg_id, ts, price, size, buyer_is_maker, source
from new_chunk
