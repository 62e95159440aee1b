merge into symbol_status as s
using (
    select
        unnest($a) as symbol,
        unnest($b) as state,
        unnest($c::double[]) as last_price,
        unnest($d::timestamp[]) as last_trade_ts,
        unnest($e::double[]) as lag_s,
        unnest($f) as trades_per_s,
        unnest($g) as trades_stored,
        unnest($h) as reconnects,
        unnest($i) as open_gaps,
        unnest($j) as missing_trades,
        unnest($k) as note
) as n
on s.symbol = n.symbol
when matched then update set
    state = n.state,
    last_price = n.last_price,
    last_trade_ts = n.last_trade_ts,
    lag_s = n.lag_s,
    trades_per_s = n.trades_per_s,
    trades_stored = n.trades_stored,
    reconnects = n.reconnects,
    open_gaps = n.open_gaps,
    missing_trades = n.missing_trades,
    note = n.note
when not matched then insert
when not matched by source then delete
