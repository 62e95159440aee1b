-- A chunk's trades; two columns of one text each would cost a fifth of the insert.
insert into trades
select $symbol, agg_id, ts, price, size, buyer_is_maker, $source
from new_chunk
