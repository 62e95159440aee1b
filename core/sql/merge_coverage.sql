-- Intervals that grew are updated in place: deleting and inserting them at every flush would
-- leave millions of dead rows a day.
merge into coverage as c
using (
    select
        unnest($symbols) as symbol,
        unnest($first_ids) as first_id,
        unnest($last_ids) as last_id,
        make_timestamp_ms(unnest($first_ms)) as first_ts,
        make_timestamp_ms(unnest($last_ms)) as last_ts
) as n
on c.symbol = n.symbol and c.first_id = n.first_id
when matched then update set last_id = n.last_id, last_ts = n.last_ts
when not matched then insert
