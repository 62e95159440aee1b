-- {table} and {column} are literals of core.importing.datasets.
delete from {table}
where rowid in (
    select rowid
    from {table}
    where {column} in (select unnest($values::varchar[]))
    limit $rows
)
