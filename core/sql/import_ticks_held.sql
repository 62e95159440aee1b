-- Which rows of `new_chunk` the dataset holds: by id where there is one, by everything where not.
-- The ranges keep the scan to the row groups around the chunk.
select n.row
from new_chunk as n
semi join uploaded_trades as t
on t.dataset = $dataset
    and t.id between $low_id::bigint and $high_id::bigint
    and t.symbol = n.symbol and t.id = n.id
union all
select n.row
from new_chunk as n
semi join uploaded_trades as t
on t.dataset = $dataset
    and t.ts between $low::timestamp and $high::timestamp
    and t.id is null and n.id is null
    and t.symbol = n.symbol and t.ts = n.ts and t.price = n.price
    and t.occurrence = n.occurrence
    and t.size is not distinct from n.size
    and t.side is not distinct from n.side
