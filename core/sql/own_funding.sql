-- The next settlement comes as long after the last as the last came after the one before.
select
    symbol,
    count(*) as rates,
    min(ts) as first_ts,
    max(ts) as last_ts,
    arg_max(rate, ts) as rate,
    avg(rate) as mean_rate,
    max(ts) + (max(ts) - max(ts, 2)[2]) as next_ts
from funding_rates
group by symbol
order by symbol
