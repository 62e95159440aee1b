insert into gaps
select
    $symbol,
    unnest($first_ids),
    unnest($last_ids),
    unnest($states),
    make_timestamp_ms(unnest($opened_ms)),
    make_timestamp_ms($closed_ms::bigint),
    make_timestamp_ms(unnest($after_ms)),
    make_timestamp_ms(unnest($before_ms))
