-- Many pairs at once (table pairs: pair, y, x), each as pair_frame.sql has one.
select
    pairs.pair,
    y.ts,
    y.close as price_y,
    x.close as price_x,
    false as is_stale
from pairs
inner join legs as y on y.symbol = pairs.y
inner join legs as x on x.symbol = pairs.x and x.ts = y.ts
order by pairs.pair, y.ts
