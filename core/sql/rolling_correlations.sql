-- A return counts only between neighbouring bars: those rows are a partition of their own, so
-- that a full window holds $window returns whatever is missing between them.
with steps as (
    select
        {pair}ts,
        y,
        x,
        y_log - lag(y_log) over ({by}order by ts) as return_y,
        x_log - lag(x_log) over ({by}order by ts) as return_x,
        coalesce(ts - lag(ts) over ({by}order by ts) = to_seconds($bar_s), false) as is_step
    from pair
)

select
    {pair}ts,
    case
        when is_step and row_number() over returns >= $window and isfinite(corr(return_y, return_x) over returns)
            then corr(return_y, return_x) over returns
    end as corr,
    case
        when row_number() over bars >= $window and isfinite(corr(y, x) over bars) then corr(y, x) over bars
    end as corr_levels
from steps
window
    returns as (partition by {pair}is_step order by ts rows between $before preceding and current row),
    bars as ({by}order by ts rows between $before preceding and current row)
order by {pair}ts
