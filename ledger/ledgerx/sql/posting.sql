-- name: lock_head
-- Serialises all writers of a tenant; the statements after it see what the winner before committed.
SELECT seq, hash, recorded_at FROM ledgerx.heads WHERE tenant_id = %(tenant_id)s FOR NO KEY UPDATE;

-- name: load_accounts
-- The accounts with these codes, with the sums the engine keeps of the guarded ones. OFFSET 0 keeps each look-up one of
-- the index: of tables without statistics the planner would rather read all the tenant's rows.
SELECT
    a.account_id, a.code, a.asset, a.scale, a.type, a.status, a.min_balance, a.max_balance, a.seq,
    g.posted, g.pending_debit, g.pending_credit
FROM unnest(%(codes)b::text []) AS wanted (code)
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND code = wanted.code OFFSET 0
) AS a
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.guarded_balances WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id OFFSET 0
) AS g ON true;

-- name: load_keys
-- The entries that these idempotency keys made.
SELECT e.seq
FROM unnest(%(keys)b::text []) AS wanted (key)
CROSS JOIN LATERAL (
    SELECT seq FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND idempotency_key = wanted.key OFFSET 0
) AS e;

-- name: append
-- The entries of a batch, their postings and the head that moves with them.
WITH new_entries AS (
    INSERT INTO ledgerx.entries (
        tenant_id, seq, recorded_at, effective_at, kind, actor, idempotency_key, fingerprint, reference, category,
        description, metadata, annotations_hash, change, hash
    )
    SELECT %(tenant_id)s, batch.*
    FROM unnest(
        %(seq)b::bigint [], %(recorded_at)b::timestamptz [], %(effective_at)b::timestamptz [], %(kind)b::text [],
        %(actor)b::text [], %(idempotency_key)b::text [], %(fingerprint)b::bytea [], %(reference)b::text [],
        %(category)b::text [], %(description)b::text [], %(metadata)b::text [], %(annotations_hash)b::bytea [],
        %(change)b::text [], %(hash)b::bytea []
    ) AS batch
), new_postings AS (
    INSERT INTO ledgerx.postings (tenant_id, seq, account_id, line, layer, amount, effective_at)
    SELECT %(tenant_id)s, batch.*
    FROM unnest(
        %(posting_seq)b::bigint [], %(account_id)b::bigint [], %(line)b::smallint [], %(layer)b::smallint [],
        %(amount)b::numeric [], %(posting_effective_at)b::timestamptz []
    ) AS batch
)
UPDATE ledgerx.heads SET seq = %(head_seq)s, hash = %(head_hash)s, recorded_at = %(head_recorded_at)s
WHERE tenant_id = %(tenant_id)s;

-- name: insert_metadata
-- The members of metadata that new transactions and accounts can be found by.
INSERT INTO ledgerx.entry_metadata (tenant_id, is_account, key, value, seq)
SELECT %(tenant_id)s, batch.*
FROM unnest(%(is_account)b::boolean [], %(key)b::text [], %(value)b::text [], %(seq)b::bigint []) AS batch;

-- name: upsert_accounts
-- Accounts opened or changed by a batch, as its account entries left them.
INSERT INTO ledgerx.accounts (
    tenant_id, account_id, code, asset, scale, type, status, min_balance, max_balance, metadata, opened_at, seq
)
SELECT %(tenant_id)s, batch.*
FROM unnest(
    %(account_id)b::bigint [], %(code)b::text [], %(asset)b::text [], %(scale)b::smallint [], %(type)b::text [],
    %(status)b::text [], %(min_balance)b::numeric [], %(max_balance)b::numeric [], %(metadata)b::text [],
    %(opened_at)b::timestamptz [], %(seq)b::bigint []
) AS batch
ON CONFLICT ON CONSTRAINT accounts_pkey DO UPDATE
SET status = excluded.status, min_balance = excluded.min_balance, max_balance = excluded.max_balance,
    seq = excluded.seq;

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

-- name: insert_outbox
-- One row for the entries `first_seq` to `last_seq` of a commit.
INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, traceparent, first_seq, last_seq)
VALUES (
    %(id)s, %(tenant_id)s, %(aggregatetype)s, %(aggregateid)s, %(type)s, %(payload)b, %(traceparent)s, %(first_seq)s,
    %(last_seq)s
);
