-- {table} and {where} are literals of core.importing.
delete from {table}
where rowid in (
    select rowid
    from {table}
    where {where}
    limit $rows
)
