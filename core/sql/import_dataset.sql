insert into datasets (dataset, created_at)
select $dataset, $now::timestamp
where not exists (from datasets where dataset = $dataset)
