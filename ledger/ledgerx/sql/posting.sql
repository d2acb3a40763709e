-- name: lock_head
-- Serialises all writers of a tenant; the statements after it see what the winner before committed.
SELECT
    seq, hash, recorded_at, suspended, accounts, max_accounts, assets, categories, strict_categories, settings_seq
FROM ledgerx.heads
WHERE tenant_id = %(tenant_id)s
FOR NO KEY UPDATE;

-- name: look_at_head
-- The head as it stands, for those who only want to know what would be.
SELECT
    seq, hash, recorded_at, suspended, accounts, max_accounts, assets, categories, strict_categories, settings_seq
FROM ledgerx.heads
WHERE tenant_id = %(tenant_id)s;

-- name: members_may_post
-- Whether members may take from their accounts; asked only where one of them wants to.
SELECT members_may_post FROM ledgerx.tenants WHERE tenant_id = %(tenant_id)s;

-- name: load_accounts
-- The accounts with these codes, with the sums the engine keeps of the guarded ones. OFFSET 0 keeps each look-up one of
-- the index: of tables without statistics the planner would rather read all the tenant's rows.
SELECT
    a.account_id, a.code, a.asset, a.scale, a.type, a.status, a.min_balance, a.max_balance, a.seq, a.owner,
    g.posted, g.pending_debit, g.pending_credit
FROM unnest(%(codes)b::text []) AS wanted (code)
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND code = wanted.code OFFSET 0
) AS a
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.guarded_balances
    WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id
        -- No others are kept.
        AND (a.min_balance IS NOT NULL OR a.max_balance IS NOT NULL)
    OFFSET 0
) AS g ON true;

-- name: load_target_accounts
-- The accounts that these transactions touched, in the columns of load_accounts.
SELECT
    a.account_id, a.code, a.asset, a.scale, a.type, a.status, a.min_balance, a.max_balance, a.seq, a.owner,
    g.posted, g.pending_debit, g.pending_credit
FROM (
    SELECT DISTINCT p.account_id
    FROM unnest(%(targets)b::bigint []) AS wanted (seq)
    CROSS JOIN LATERAL (
        SELECT account_id FROM ledgerx.postings WHERE tenant_id = %(tenant_id)s AND seq = wanted.seq OFFSET 0
    ) AS p
) AS touched
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND account_id = touched.account_id OFFSET 0
) AS a
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.guarded_balances
    WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id
        -- No others are kept.
        AND (a.min_balance IS NOT NULL OR a.max_balance IS NOT NULL)
    OFFSET 0
) AS g ON true;

-- name: load_resolutions
-- The entries that resolved those of these transactions that are holds.
SELECT r.target_seq, r.seq
FROM unnest(%(targets)b::bigint []) AS wanted (seq)
CROSS JOIN LATERAL (
    SELECT target_seq, seq FROM ledgerx.entries
    WHERE tenant_id = %(tenant_id)s AND target_seq = wanted.seq AND kind IN ('capture', 'release', 'expire')
    OFFSET 0
) AS r;

-- name: load_reversed
-- What has been taken back of these transactions, by account and by the sign of the lines taken back.
SELECT r.target_seq, p.account_id, -sign(p.amount), sum(abs(p.amount))
FROM unnest(%(targets)b::bigint []) AS wanted (seq)
CROSS JOIN LATERAL (
    SELECT target_seq, seq FROM ledgerx.entries
    WHERE tenant_id = %(tenant_id)s AND target_seq = wanted.seq AND kind = 'reverse' OFFSET 0
) AS r
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.postings WHERE tenant_id = %(tenant_id)s AND seq = r.seq OFFSET 0
) AS p
GROUP BY r.target_seq, p.account_id, -sign(p.amount);

-- name: load_versions
-- The latest transaction of each of these accounts, 0 for none.
SELECT a.account_id, CASE WHEN p.seq IS NULL THEN 0 ELSE p.seq END
FROM unnest(%(codes)b::text []) AS wanted (code)
CROSS JOIN LATERAL (
    SELECT account_id FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND code = wanted.code OFFSET 0
) AS a
LEFT JOIN LATERAL (
    SELECT seq FROM ledgerx.postings WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id
    ORDER BY seq DESC, line DESC
    LIMIT 1
) AS p ON true;

-- name: load_keys
-- The entries that these idempotency keys made.
SELECT e.seq
FROM unnest(%(keys)b::text []) AS wanted (key)
CROSS JOIN LATERAL (
    SELECT seq FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND idempotency_key = wanted.key OFFSET 0
) AS e;

-- name: append
-- The entries of a batch, their postings, the outbox rows that carry them and the head that moves with them.
WITH new_entries AS (
    INSERT INTO ledgerx.entries (
        tenant_id, seq, recorded_at, effective_at, kind, actor, idempotency_key, fingerprint, reference, category,
        description, metadata, annotations_hash, change, target_seq, expires_at, hash
    )
    SELECT %(tenant_id)s, batch.*
    FROM unnest(
        %(seq)b::bigint [], %(recorded_at)b::timestamptz [], %(effective_at)b::timestamptz [], %(kind)b::text [],
        %(actor)b::text [], %(idempotency_key)b::text [], %(fingerprint)b::bytea [], %(reference)b::text [],
        %(category)b::text [], %(description)b::text [], %(metadata)b::text [], %(annotations_hash)b::bytea [],
        %(change)b::text [], %(target_seq)b::bigint [], %(expires_at)b::timestamptz [], %(hash)b::bytea []
    ) AS batch
), new_postings AS (
    INSERT INTO ledgerx.postings (tenant_id, seq, account_id, line, layer, amount, effective_at)
    SELECT %(tenant_id)s, batch.*
    FROM unnest(
        %(posting_seq)s::bigint [], %(account_id)s::bigint [], %(line)s::smallint [], %(layer)s::smallint [],
        %(amount)s::numeric [], %(posting_effective_at)b::timestamptz []
    ) AS batch
), new_outbox AS (
    INSERT INTO ledgerx.outbox (
        tenant_id, aggregateid, aggregatetype, type, traceparent, id, payload, first_seq, last_seq
    )
    SELECT %(tenant_id)s, %(tenant_id)s::text, %(aggregatetype)s, %(type)s, %(traceparent)s, batch.*
    FROM unnest(
        %(outbox_id)b::uuid [], %(payload)b::text [], %(first_seq)b::bigint [], %(last_seq)b::bigint []
    ) AS batch
)
UPDATE ledgerx.heads SET seq = %(head_seq)s, hash = %(head_hash)s, recorded_at = %(head_recorded_at)s
WHERE tenant_id = %(tenant_id)s;

-- name: insert_search_terms
-- What the transactions and accounts of a batch can be found by from now on.
INSERT INTO ledgerx.search_terms (tenant_id, subject, key, value, seq)
SELECT %(tenant_id)s, batch.*
FROM unnest(%(subject)b::text [], %(key)b::text [], %(value)b::text [], %(seq)b::bigint []) AS batch
ON CONFLICT ON CONSTRAINT search_terms_pkey DO NOTHING;

-- name: upsert_accounts
-- Accounts opened or changed by a batch, as its account entries left them.
INSERT INTO ledgerx.accounts (
    tenant_id, account_id, code, asset, scale, type, status, min_balance, max_balance, owner, metadata, opened_at, seq
)
SELECT %(tenant_id)s, batch.*
FROM unnest(
    %(account_id)b::bigint [], %(code)b::text [], %(asset)b::text [], %(scale)b::smallint [], %(type)b::text [],
    %(status)b::text [], %(min_balance)b::numeric [], %(max_balance)b::numeric [], %(owner)b::text [],
    %(metadata)b::text [], %(opened_at)b::timestamptz [], %(seq)b::bigint []
) AS batch
ON CONFLICT ON CONSTRAINT accounts_pkey DO UPDATE
SET status = excluded.status, min_balance = excluded.min_balance, max_balance = excluded.max_balance,
    owner = excluded.owner, metadata = coalesce(excluded.metadata, accounts.metadata), seq = excluded.seq;

-- name: count_opened
-- The accounts that a batch opened, in the head's count of them.
UPDATE ledgerx.heads SET accounts = accounts + %(opened)s WHERE tenant_id = %(tenant_id)s;

-- name: upsert_guarded
-- The sums of the guarded accounts that a batch touched.
INSERT INTO ledgerx.guarded_balances (tenant_id, account_id, posted, pending_debit, pending_credit, seq)
SELECT %(tenant_id)s, batch.*
FROM unnest(
    %(account_id)b::bigint [], %(posted)b::numeric [], %(pending_debit)b::numeric [], %(pending_credit)b::numeric [],
    %(seq)b::bigint []
) AS batch
ON CONFLICT ON CONSTRAINT guarded_balances_pkey DO UPDATE
SET posted = excluded.posted, pending_debit = excluded.pending_debit, pending_credit = excluded.pending_credit,
    seq = excluded.seq;

-- name: delete_guarded
-- Sums of accounts that have no limits any more.
DELETE FROM ledgerx.guarded_balances WHERE tenant_id = %(tenant_id)s AND account_id = any(%(account_ids)b);

-- name: insert_holds
-- Holds that a batch opened.
INSERT INTO ledgerx.open_holds (tenant_id, seq, expires_at)
SELECT %(tenant_id)s, batch.* FROM unnest(%(seq)b::bigint [], %(expires_at)b::timestamptz []) AS batch;

-- name: delete_holds
-- Holds that a batch resolved.
DELETE FROM ledgerx.open_holds WHERE tenant_id = %(tenant_id)s AND seq = any(%(seq)b);
