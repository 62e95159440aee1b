-- One slope for the whole window. The residuals' first autocovariance comes from the window's
-- covariances with the row before, so that the slope's error knows how slowly they revert.
with lagged as (
    select
        {pair}ts,
        y,
        x,
        lag(y) over ({by}order by ts) as y_before,
        lag(x) over ({by}order by ts) as x_before
    from pair
),

moments as (
    select
        {pair}ts,
        y,
        x,
        row_number() over bars >= $window as is_full,
        regr_slope(y, x) over bars as slope,
        regr_intercept(y, x) over bars as intercept,
        stddev_samp(y) over bars as sd_y,
        stddev_samp(x) over bars as sd_x,
        covar_pop(y, y_before) over bars as lag_yy,
        covar_pop(x, x_before) over bars as lag_xx,
        covar_pop(y + x, y_before + x_before) over bars as lag_both
    from lagged
    window bars as ({by}order by ts rows between $before preceding and current row)
),

fitted as (
    select
        {pair}ts,
        y,
        x,
        intercept,
        sd_x,
        case when is_full and sd_x > 1e-12 then slope end as beta,
        1 - pow(slope * sd_x / nullif(sd_y, 0), 2) as unexplained,
        sd_y * sqrt(greatest(0, 1 - pow(slope * sd_x / nullif(sd_y, 0), 2))) as sd,
        lag_yy - slope * (lag_both - lag_yy - lag_xx) + slope * slope * lag_xx as residual_lag
    from moments
),

errors as (
    select
        *,
        greatest(1 / $window - 1, least(1 - 1 / $window, residual_lag * $window / ($before * nullif(sd * sd, 0)))) as rho_hat
    from fitted
)

select
    {pair}ts,
    case when beta is not null then intercept end as alpha,
    beta,
    y - intercept - beta * x as spread,
    case when beta is not null and unexplained > 1.5e-6 and sd > 1e-12 then sd end as spread_sd,
    unexplained,
    case
        when beta is not null and unexplained > 1.5e-6
            then
                sd * sqrt(1 - rho_hat * rho_hat) / (sd_x * sqrt($before))
                / (1 - greatest(1 / $window - 1, least(rho_hat + (1 + 3 * rho_hat) / $window, 1 - 1 / $window)))
    end as se_beta
from errors
order by {pair}ts
