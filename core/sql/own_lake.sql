select
    symbol,
    count(distinct day) as days,
    count(*) as files,
    sum(trades)::bigint as trades,
    min(day) as first_day,
    max(day) as last_day,
    list({path: path, lake: lake} order by path) as files_kept
from lake_files
group by symbol
order by symbol
