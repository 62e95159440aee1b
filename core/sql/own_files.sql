select
    name, kind, dataset, rows_read, rows_kept, rows_duplicate, rows_rejected, imported_at,
    content_hash
from imported_files
order by imported_at desc, name
limit $limit
