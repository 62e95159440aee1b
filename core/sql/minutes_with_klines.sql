-- Minutes from trades, and the exchange's own minute wherever the trades of that minute are not
-- known to be complete: no interval of held ids reaches from its start to its end.
(
    with exchange as (
        select k.*
        from klines as k
        asof left join (
            -- Trades lost inside one millisecond leave two intervals that begin at the same time.
            select symbol, first_ts, max(last_ts) as last_ts from coverage
            where symbol in (select unnest($symbols))
            group by symbol, first_ts
        ) as held
        on k.symbol = held.symbol and k.ts >= held.first_ts
        where
            k.ts >= $start and k.ts < $end and k.symbol in (select unnest($symbols))
            and (held.last_ts is null or held.last_ts < k.ts + interval 1 minute)
    )
    select
        symbol, ts, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,
        'trades' as origin
    from bars_1min as b
    where
        ts >= $start and ts < $end and symbol in (select unnest($symbols))
        and not exists (from exchange as e where e.symbol = b.symbol and e.ts = b.ts)
    union all
    select
        symbol, ts, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,
        'klines' as origin
    from exchange
)
