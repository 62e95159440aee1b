-- How far the rolling correlation lies below its own mean over ten windows.
select
    pair,
    ts,
    case
        when count(corr) over long >= 9 * $window
            then avg(corr) over long
    end as corr_mean
from pair
window long as (partition by pair order by ts rows between $long_before preceding and current row)
order by pair, ts
