-- Where the trades of a minute are complete and the exchange's own minute is held as well, the
-- two should be equal: an integrity check of the whole way from the wire to the bars.
select
    k.symbol,
    count(*) as compared,
    count(*) filter (
        where b.symbol is null
        or (b.open, b.high, b.low, b.close) is distinct from (k.open, k.high, k.low, k.close)
    ) as different_price,
    count(*) filter (where b.volume is distinct from k.volume) as different_volume,
    max(
        10000 * greatest(
            abs(b.open / k.open - 1), abs(b.high / k.high - 1),
            abs(b.low / k.low - 1), abs(b.close / k.close - 1)
        )
    ) as worst_bps,
    min(k.ts) as first_ts,
    max(k.ts) as last_ts
from klines as k
asof join (
    select symbol, first_ts, max(last_ts) as last_ts from coverage
    where symbol in (select unnest($symbols))
    group by symbol, first_ts
) as held
on k.symbol = held.symbol and k.ts >= held.first_ts
left join bars_1min as b
on b.symbol = k.symbol and b.ts = k.ts
where k.symbol in (select unnest($symbols)) and held.last_ts >= k.ts + interval 1 minute
group by k.symbol
order by k.symbol
