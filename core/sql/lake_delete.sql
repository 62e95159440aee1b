delete from trades
where
    symbol = $symbol and ts >= $first and ts <= $last
    and agg_id in (select agg_id from moved)
