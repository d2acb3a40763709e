-- name: record
-- Keeps findings, as long as there are fewer than that many, and tells which of them are new.
WITH kept AS (
    INSERT INTO ledgerx.findings AS f (tenant_id, seq, what, found_by)
    SELECT %(tenant_id)s, found.seq, found.what, %(found_by)s
    FROM unnest(%(seqs)b::bigint [], %(whats)b::text []) AS found (seq, what)
    WHERE (SELECT count(*) FROM ledgerx.findings WHERE tenant_id = %(tenant_id)s) < %(most)s
    ON CONFLICT ON CONSTRAINT findings_pkey DO UPDATE SET seen_at = excluded.seen_at
    RETURNING new.seq, new.what, new.found_at = new.seen_at AS is_new
)
SELECT seq, what FROM kept WHERE is_new;

-- name: findings
-- What is wrong with a journal, the first found first.
SELECT seq, what, found_by, found_at, seen_at FROM ledgerx.findings
WHERE tenant_id = %(tenant_id)s
ORDER BY found_at, seq
LIMIT %(limit)s;

-- name: clear
-- Forgets what was found.
DELETE FROM ledgerx.findings WHERE tenant_id = %(tenant_id)s;
