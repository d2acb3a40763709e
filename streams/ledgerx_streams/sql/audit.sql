-- name: audit
-- How far the audit has followed a journal.
SELECT seq, hash FROM ledgerx.audits WHERE tenant_id = %(tenant_id)s;

-- name: guards
-- What the audit keeps of accounts with limits.
SELECT g.account_id, g.type, g.min_balance, g.max_balance, g.posted, g.pending_debit, g.pending_credit
FROM unnest(%(account_ids)s::bigint []) AS wanted (account_id)
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.audit_balances
    WHERE tenant_id = %(tenant_id)s AND account_id = wanted.account_id
    OFFSET 0
) AS g;

-- name: sums
-- The sums of accounts up to an entry.
SELECT wanted.account_id, sums.posted, sums.pending_debit, sums.pending_credit
FROM unnest(%(account_ids)s::bigint []) AS wanted (account_id)
CROSS JOIN LATERAL ledgerx.sums_upto(%(tenant_id)s, wanted.account_id, %(upto)s) AS sums;

-- name: keep_guards
-- What the audit keeps of accounts with limits from now on.
INSERT INTO ledgerx.audit_balances AS b (
    tenant_id, account_id, type, min_balance, max_balance, posted, pending_debit, pending_credit
)
SELECT %(tenant_id)s, g.*
FROM unnest(
    %(account_id)s::bigint [], %(type)s::text [], %(min_balance)s::numeric [], %(max_balance)s::numeric [],
    %(posted)s::numeric [], %(pending_debit)s::numeric [], %(pending_credit)s::numeric []
) AS g
ON CONFLICT ON CONSTRAINT audit_balances_pkey DO UPDATE
SET min_balance = excluded.min_balance, max_balance = excluded.max_balance, posted = excluded.posted,
    pending_debit = excluded.pending_debit, pending_credit = excluded.pending_credit;

-- name: drop_guards
-- Forgets accounts that have no limits any more.
DELETE FROM ledgerx.audit_balances WHERE tenant_id = %(tenant_id)s AND account_id = any(%(account_ids)s::bigint []);

-- name: clear
-- Forgets how far the audit has followed a tenant's journal.
WITH guards AS (
    DELETE FROM ledgerx.audit_balances WHERE tenant_id = %(tenant_id)s
)
DELETE FROM ledgerx.audits WHERE tenant_id = %(tenant_id)s;

-- name: keep_audit
-- How far the audit is now; what was recorded is read again soon.
INSERT INTO ledgerx.audits AS a (tenant_id, seq, hash)
VALUES (%(tenant_id)s, %(seq)s, %(hash)s)
ON CONFLICT ON CONSTRAINT audits_pkey DO UPDATE
SET seq = excluded.seq, hash = excluded.hash,
    recent_due_at = least(a.recent_due_at, now() + make_interval(secs => %(soon_s)s));
