-- The sums of each bar, exactly as partial_bars_1s takes them; `bar` numbers the bars in order.
select
    sum(size::decimal(18, 8)) as volume,
    sum(price::decimal(19, 8) * size::decimal(19, 8)) as quote_volume,
    sum(case when buyer_is_maker then 0 else size::decimal(18, 8) end) as taker_buy_volume
from numbered
group by bar
order by bar
