select
    (
        select coalesce(sum(trades), 0)::bigint
        from bars_1min
        where symbol = $symbol and ts >= $start and ts < $end
    ) as held,
    (
        select coalesce(sum(last_id - first_id + 1), 0)::bigint
        from gaps
        where symbol = $symbol and state in ('open', 'lost') and after_ts < $end and before_ts > $start
    ) as missing,
    (select min(first_ts) from coverage where symbol = $symbol) as since,
    (select max(last_ts) from coverage where symbol = $symbol) as until
