insert into funding_rates
select n.symbol, n.ts, n.rate, n.mark_price
from (
    select
        unnest($symbols) as symbol,
        make_timestamp_ms(unnest($times)) as ts,
        unnest($rates) as rate,
        unnest($marks::double[]) as mark_price
) as n
where not exists (
    from funding_rates as f
    where f.symbol = n.symbol and f.ts = n.ts
)
order by n.ts
