-- Bars count the trades that there are, in the file or in the lake, and are small: what they
-- count more than the lake holds is in the file. Keys with an @ are users' datasets.
select b.symbol, b.day, b.trades - coalesce(l.trades, 0) as trades
from (
    select symbol, ts::date as day, sum(trades)::bigint as trades
    from bars_1min
    where ts >= $start and ts < $end and not contains(symbol, '@')
    group by all
) as b
left join (
    select symbol, day, sum(trades)::bigint as trades
    from lake_files
    group by all
) as l
on l.symbol = b.symbol and l.day = b.day
where b.trades > coalesce(l.trades, 0)
order by b.day, b.symbol
