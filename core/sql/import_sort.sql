-- Runs to one sorted file, outside of memory where need be; equal rows stay as they came.
-- {columns}, {order} and {path} are literals of core.importing.runs.
copy (
    select {columns}
    from read_parquet($runs, union_by_name = true, filename = true, file_row_number = true)
    order by {order}, filename, file_row_number
) to '{path}' (format parquet, compression lz4, row_group_size 131072)
