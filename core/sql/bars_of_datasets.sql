-- Ticks may tell no side, and then sums of bought size are 0 where nothing is known. A dataset's
-- symbol without any side has none of them; one buy among its bars settles it without a look at
-- the ticks.
with doubtful as (
    select
        symbol,
        split_part(symbol, '@', 1) as name,
        substr(symbol, strpos(symbol, '@') + 1) as dataset
    from (select unnest($symbols) as symbol) as asked
    where
        contains(symbol, '@')
        and symbol not in (
            select symbol
            from bars_1min
            where symbol in (select unnest($symbols)) and taker_buy_volume > 0
        )
),
sideless as (
    select symbol
    from doubtful
    where symbol not in (
        select d.symbol
        from doubtful as d
        inner join uploaded_trades as t on t.dataset = d.dataset and t.symbol = d.name
        where t.side is not null
    )
)
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
    case
        when symbol not in (select symbol from sideless) then taker_buy_volume
    end as taker_buy_volume,
    origin
from ({bars}) as b
order by symbol, ts
