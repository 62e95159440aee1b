merge into dataset_symbols as d
using (
    select symbol, count(*) as trades, min(ts) as first_ts, max(ts) as last_ts
    from new_chunk
    group by symbol
) as n
on d.dataset = $dataset and d.symbol = n.symbol
when matched then update set
    trades = d.trades + n.trades,
    first_ts = least(d.first_ts, n.first_ts),
    last_ts = greatest(d.last_ts, n.last_ts)
when not matched then insert values ($dataset, n.symbol, n.trades, n.first_ts, n.last_ts)
