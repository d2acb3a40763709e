-- name: add
-- Adds movements to the volumes of their day in the tenant's time zone.
INSERT INTO ledgerx.daily_volumes AS v (tenant_id, account_id, day, category, debits, credits, postings)
SELECT
    t.tenant_id, added.account_id, (added.effective_at AT TIME ZONE t.time_zone)::date AS day, added.category,
    sum(added.debits), sum(added.credits), sum(added.postings)
FROM unnest(
    %(account_id)b::bigint [], %(effective_at)b::timestamptz [], %(category)b::text [], %(debits)b::numeric [],
    %(credits)b::numeric [], %(postings)b::bigint []
) AS added (account_id, effective_at, category, debits, credits, postings)
CROSS JOIN ledgerx.tenants AS t
WHERE t.tenant_id = %(tenant_id)s
GROUP BY t.tenant_id, added.account_id, day, added.category
ON CONFLICT ON CONSTRAINT daily_volumes_pkey DO UPDATE
SET debits = v.debits + excluded.debits, credits = v.credits + excluded.credits,
    postings = v.postings + excluded.postings;

-- name: amended
-- The posted lines of amended transactions, with the category that each had before its amendment.
SELECT
    wanted.seq, p.account_id, CASE WHEN e.effective_at IS NULL THEN e.recorded_at ELSE e.effective_at END, p.amount,
    coalesce(CASE WHEN before.seq IS NULL THEN e.category ELSE before.category END, '')
FROM unnest(%(seqs)b::bigint [], %(targets)b::bigint []) AS wanted (seq, target_seq)
CROSS JOIN LATERAL (
    SELECT recorded_at, effective_at, category FROM ledgerx.entries
    WHERE tenant_id = %(tenant_id)s AND seq = wanted.target_seq
    OFFSET 0
) AS e
LEFT JOIN LATERAL ledgerx.latest_amendment(%(tenant_id)s, wanted.target_seq, wanted.seq - 1) AS before ON true
CROSS JOIN LATERAL (
    SELECT account_id, amount FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s AND seq = wanted.target_seq AND layer = 0
    OFFSET 0
) AS p;

-- name: clear
-- Deletes what a tenant has of volumes and dated postings.
WITH tails AS (
    DELETE FROM ledgerx.dated_tails WHERE tenant_id = %(tenant_id)s
), marks AS (
    DELETE FROM ledgerx.dated_marks WHERE tenant_id = %(tenant_id)s
), versions AS (
    DELETE FROM ledgerx.dated_versions WHERE tenant_id = %(tenant_id)s
), blocks AS (
    DELETE FROM ledgerx.dated_blocks WHERE tenant_id = %(tenant_id)s
)
DELETE FROM ledgerx.daily_volumes WHERE tenant_id = %(tenant_id)s;
