select
    symbol,
    time_bucket(to_seconds($seconds), ts) as ts,
    arg_min(open, ts) as open,
    max(high) as high,
    min(low) as low,
    arg_max(close, ts) as close,
    sum(volume) as volume,
    sum(quote_volume) as quote_volume,
    sum(trades)::bigint as trades,
    sum(taker_buy_volume) as taker_buy_volume,
    case when min({origin}) = max({origin}) then min({origin}) else 'mixed' end as origin
from {bars}
where ts >= $start and ts < $end and symbol in (select unnest($symbols))
group by symbol, time_bucket(to_seconds($seconds), ts)
order by symbol, ts
