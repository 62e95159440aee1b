with admitted as (
    select symbol, ts, close
    from legs
    where close * volume >= $min_turnover
)

select
    ts,
    y.close as price_y,
    x.close as price_x,
    false as is_stale
from (select ts, close from admitted where symbol = $y) as y
inner join (select ts, close from admitted where symbol = $x) as x using (ts)
order by ts
