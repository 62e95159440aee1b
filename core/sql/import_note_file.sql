insert into imported_files (
    dataset, kind, name, content_hash, rows_read, rows_kept, rows_duplicate, rows_rejected,
    imported_at
)
values ($dataset, $kind, $name, $hash, $read, $kept, $duplicate, $rejected, $now)
