-- What alerts ask of one symbol, for every symbol of legs (symbol, ts, close, volume). Times, not
-- rows, measure what lies back: a bar without a trade has no volume and the price before it.
with steps as (
    select
        symbol,
        ts,
        close,
        volume,
        ln(close / lag(close) over own) as step,
        coalesce(ts - lag(ts) over own = to_seconds($bar_s), false) as is_step
    from legs
    window own as (partition by symbol order by ts)
)

select
    symbol,
    ts,
    close,
    volume,
    last_value(close) over back as close_before,
    100 * (close / last_value(close) over back - 1) as change_pct,
    case
        when min(ts) over so_far <= ts - to_seconds($window * $bar_s)
            then sum(volume) over before / $window
    end as volume_mean,
    case when count(step) over short >= $window and is_step then stddev_samp(step) over short end as volatility,
    case when count(step) over long >= 10 * $window and is_step then stddev_samp(step) over long end as volatility_mean
from steps
window
    back as (
        partition by symbol order by ts
        range between unbounded preceding and to_seconds($window * $bar_s) preceding
    ),
    before as (
        partition by symbol order by ts
        range between to_seconds($window * $bar_s) preceding and to_seconds($bar_s) preceding
    ),
    so_far as (partition by symbol order by ts rows between unbounded preceding and current row),
    short as (partition by symbol, is_step order by ts rows between $before preceding and current row),
    long as (partition by symbol, is_step order by ts rows between $long_before preceding and current row)
order by symbol, ts
