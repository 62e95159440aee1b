with admitted as (
    select symbol, ts, close
    from legs
    where close * volume >= $min_turnover
),

either as (
    select
        ts,
        max(close) filter (where symbol = $y) as own_y,
        max(close) filter (where symbol = $x) as own_x
    from admitted
    where symbol = $y or symbol = $x
    group by ts
),

carried as (
    select
        ts,
        last_value(own_y ignore nulls) over past as price_y,
        last_value(own_x ignore nulls) over past as price_x,
        last_value(if(own_y is null, null, ts) ignore nulls) over past as ts_y,
        last_value(if(own_x is null, null, ts) ignore nulls) over past as ts_x
    from either
    window past as (order by ts rows between unbounded preceding and current row)
)

select
    ts,
    price_y,
    price_x,
    ts_y < ts or ts_x < ts as is_stale
from carried
where
    ts - ts_y <= to_seconds($carry_s)
    and ts - ts_x <= to_seconds($carry_s)
order by ts
