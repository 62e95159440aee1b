-- One row without a number where the whole content is there, and one a chunk where parts are.
select null as chunk, 0 as kept, 0 as duplicate
from imported_files
where dataset = $dataset and content_hash = $hash
union all
select chunk, rows_kept, rows_duplicate
from import_chunks
where dataset = $dataset and content_hash = $layout
