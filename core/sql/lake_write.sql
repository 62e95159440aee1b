copy (
    select symbol, agg_id, ts::timestamp as ts, price, size, buyer_is_maker, source
    from moving
    order by ts, agg_id
) to '{path}' (format parquet, compression zstd)
