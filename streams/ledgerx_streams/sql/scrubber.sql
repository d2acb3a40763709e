-- name: due_audits
-- Tenants of whose journals something is to be read again.
SELECT tenant_id FROM ledgerx.due_audits(%(most)s);

-- name: lock_audit
-- The audit of a tenant, to go on with; nothing where somebody else has it.
SELECT tenant_id FROM ledgerx.audits WHERE tenant_id = %(tenant_id)s FOR NO KEY UPDATE SKIP LOCKED;

-- name: place
-- Where the two passes of a tenant stand, with its head and what the audit and the tree say of it, as of one moment.
SELECT
    CASE WHEN a.recent_due_at <= now() THEN 1 ELSE 0 END, CASE WHEN a.full_due_at <= now() THEN 1 ELSE 0 END,
    CASE
        WHEN a.recent_next > 0 THEN a.recent_next
        ELSE ledgerx.last_seq_at(%(tenant_id)s, now() - make_interval(secs => %(recent_s)s)) + 1
    END,
    greatest(a.full_next, 1), a.guarded_next, a.seq, a.hash, audited.hash, h.seq, h.hash, headed.hash,
    CASE WHEN t.size IS NULL THEN 0 ELSE t.size END
FROM ledgerx.audits AS a
INNER JOIN ledgerx.heads AS h ON h.tenant_id = %(tenant_id)s
LEFT JOIN ledgerx.merkle_trees AS t ON t.tenant_id = %(tenant_id)s
LEFT JOIN LATERAL (
    SELECT hash FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = a.seq OFFSET 0
) AS audited ON true
LEFT JOIN LATERAL (
    SELECT hash FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = h.seq OFFSET 0
) AS headed ON true
WHERE a.tenant_id = %(tenant_id)s;

-- name: tile
-- The leaves of a tree beside a page of entries.
SELECT hashes FROM ledgerx.merkle_tiles WHERE tenant_id = %(tenant_id)s AND level = 0 AND index = %(index)s;

-- name: accounts
-- The present rows of accounts, with the number of the entry that left each as it is.
SELECT a.seq, a.account_id, a.code, a.asset, a.scale, a.type, a.status, a.min_balance, a.max_balance, a.owner
FROM unnest(%(account_ids)s::bigint []) AS wanted (account_id)
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id = wanted.account_id
    OFFSET 0
) AS a;

-- name: guarded
-- Of a page of accounts with limits, whether the sums that the engine keeps, less the postings since the entry that the
-- audit has reached, are the audit's own. An account whose limits changed since then may have no sums any more.
SELECT
    b.account_id,
    CASE
        WHEN g.seq IS NULL THEN CASE WHEN acc.seq > a.seq THEN 1 ELSE 0 END
        WHEN (g.posted - since.posted, g.pending_debit - since.pending_debit, g.pending_credit - since.pending_credit)
            = (b.posted, b.pending_debit, b.pending_credit) THEN 1
        ELSE 0
    END
FROM ledgerx.audits AS a
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.audit_balances
    WHERE tenant_id = %(tenant_id)s AND account_id > %(after)s
    ORDER BY account_id
    LIMIT %(limit)s
) AS b
LEFT JOIN LATERAL (
    SELECT seq FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND account_id = b.account_id OFFSET 0
) AS acc ON true
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.guarded_balances WHERE tenant_id = %(tenant_id)s AND account_id = b.account_id OFFSET 0
) AS g ON true
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(amount) FILTER (WHERE layer = 0), 0) AS posted,
        coalesce(sum(amount) FILTER (WHERE layer = 1), 0) AS pending_debit,
        coalesce(sum(amount) FILTER (WHERE layer = 2), 0) AS pending_credit
    FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s AND account_id = b.account_id AND seq > a.seq AND seq <= g.seq
) AS since
WHERE a.tenant_id = %(tenant_id)s;

-- name: recent_done
-- A page of the recent pass is read: on to the next one, or the next pass.
UPDATE ledgerx.audits
SET recent_next = %(next)s, guarded_next = %(guarded_next)s,
    recent_began_at = CASE WHEN recent_next = 0 THEN now() ELSE recent_began_at END,
    recent_due_at = CASE
        WHEN %(next)s > 0 THEN recent_due_at
        WHEN %(idle)s THEN 'infinity'
        ELSE CASE WHEN recent_next = 0 THEN now() ELSE recent_began_at END + make_interval(secs => %(every_s)s)
    END
WHERE tenant_id = %(tenant_id)s
RETURNING extract(EPOCH FROM now() - recent_began_at);

-- name: full_done
-- The same of the full pass.
UPDATE ledgerx.audits
SET full_next = %(next)s, guarded_next = %(guarded_next)s,
    full_began_at = CASE WHEN full_next = 0 THEN now() ELSE full_began_at END,
    full_due_at = CASE
        WHEN %(next)s > 0 THEN full_due_at
        ELSE CASE WHEN full_next = 0 THEN now() ELSE full_began_at END + make_interval(secs => %(every_s)s)
    END
WHERE tenant_id = %(tenant_id)s
RETURNING extract(EPOCH FROM now() - full_began_at);
