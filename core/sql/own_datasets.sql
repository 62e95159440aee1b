select s.dataset, s.symbol, s.trades, s.first_ts, s.last_ts, d.created_at
from dataset_symbols as s
left join datasets as d on d.dataset = s.dataset
union all
-- One that was named and holds nothing yet, or whose import was cancelled.
select d.dataset, null, 0, null, null, d.created_at
from datasets as d
where not exists (select 1 from dataset_symbols as s where s.dataset = d.dataset)
order by 1, 2
