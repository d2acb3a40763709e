-- name: add
-- Adds movements to the volumes of their day in the tenant's time zone.
INSERT INTO ledgerx.daily_volumes AS v (tenant_id, account_id, day, category, debits, credits, postings)
SELECT
    t.tenant_id, added.account_id, (added.effective_at AT TIME ZONE t.time_zone)::date, added.category,
    sum(added.debits), sum(added.credits), sum(added.postings)
FROM unnest(
    %(account_id)b::bigint [], %(effective_at)b::timestamptz [], %(category)b::text [], %(debits)b::numeric [],
    %(credits)b::numeric [], %(postings)b::bigint []
) AS added (account_id, effective_at, category, debits, credits, postings)
CROSS JOIN ledgerx.tenants AS t
WHERE t.tenant_id = %(tenant_id)s
GROUP BY 1, 2, 3, 4
ON CONFLICT ON CONSTRAINT daily_volumes_pkey DO UPDATE
SET debits = v.debits + excluded.debits, credits = v.credits + excluded.credits,
    postings = v.postings + excluded.postings;
