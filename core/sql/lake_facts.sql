-- What must be equal before rows may leave the file; no order of rows changes it.
-- DuckDB's hash may differ from version to version, so fingerprints are compared within one run
-- alone: written, read back, deleted. What lies in the lake is known by its file's sha256.
select
    count(*),
    min(agg_id),
    max(agg_id),
    min(ts),
    max(ts),
    sum(fingerprint::hugeint),
    bit_xor(fingerprint)
from (
    select
        agg_id,
        ts,
        hash(symbol, agg_id, ts, price, size, buyer_is_maker, source) as fingerprint
    from ({rows}) as rows
) as hashed
