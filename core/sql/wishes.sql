-- What the app wants of the worker, in one look: the watchlist's version, and whether to stop.
select
    (select coalesce(max(version), 0) from versions where scope = 'watchlist') as watchlist_version,
    (
        select count(*) from worker_commands
        where command = 'stop' and requested_at >= $since
    ) as stops
