-- Bars that a user uploaded take precedence over the whole of their range, for exactly that
-- symbol and timeframe; they have no quote volume, trades or taker side.
select
    symbol,
    ts,
    open,
    high,
    low,
    close,
    volume,
    quote_volume,
    trades,
    taker_buy_volume,
    origin
from ({bars}) as b
where not exists (
    from uploaded_bar_sets as s
    where
        s.symbol = b.symbol and s.timeframe = $timeframe
        and b.ts between s.first_ts and s.last_ts
)
union all
select
    symbol,
    ts,
    open,
    high,
    low,
    close,
    volume,
    null as quote_volume,
    null as trades,
    null as taker_buy_volume,
    'upload' as origin
from uploaded_bars as u
where
    timeframe = $timeframe and ts >= $start and ts < $end
    and symbol in (select unnest($symbols))
    -- Rows of an import under way, or cut off, belong to no set yet and count for nothing.
    and exists (
        from uploaded_bar_sets as s
        where
            s.symbol = u.symbol and s.timeframe = u.timeframe
            and u.ts between s.first_ts and s.last_ts
    )
order by symbol, ts
