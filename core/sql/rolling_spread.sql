select
    {pair}ts,
    case when row_number() over bars >= $window then avg(spread) over bars end as spread_mean,
    case when row_number() over bars >= $window then stddev_samp(spread) over bars end as spread_sd
from pair
window bars as ({by}order by ts rows between $before preceding and current row)
order by {pair}ts
