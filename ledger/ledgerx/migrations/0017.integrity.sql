-- Merkle trees and checkpoints, the audit with what it finds, and snapshots. Written by the streams.
-- depends: 0016.outbox_retention

SET ROLE ledgerx_owner;

-- Of the tree over a tenant's journal, hashes of subtrees over 256^level leaves each, at most 256 a row, as C2SP
-- tlog-tiles has them; the last row of a level grows.
CREATE TABLE ledgerx.merkle_tiles (
    tenant_id uuid NOT NULL,
    level smallint NOT NULL,
    index bigint NOT NULL,
    hashes bytea NOT NULL,
    CONSTRAINT merkle_tiles_pkey PRIMARY KEY (tenant_id, level, index),
    CONSTRAINT merkle_tiles_place_check CHECK (level BETWEEN 0 AND 7 AND index >= 0),
    CONSTRAINT merkle_tiles_hashes_check CHECK (
        octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0
    )
);
-- Hashes do not compress.
ALTER TABLE ledgerx.merkle_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- What a tree grows on from: a hash for each bit of its size, largest subtree first, and the trial balance of its
-- entries. `unsigned_since` is since when there are entries that no checkpoint covers.
CREATE TABLE ledgerx.merkle_trees (
    tenant_id uuid NOT NULL,
    size bigint NOT NULL,
    hashes bytea NOT NULL,
    trial_balance text NOT NULL,
    unsigned_since timestamptz,
    CONSTRAINT merkle_trees_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT merkle_trees_hashes_check CHECK (size > 0 AND octet_length(hashes) % 32 = 0)
) WITH (fillfactor = 50);
-- Whoever signs looks for due trees of all tenants at once.
CREATE INDEX merkle_trees_unsigned ON ledgerx.merkle_trees (unsigned_since, tenant_id)
WHERE unsigned_since IS NOT NULL;

CREATE TABLE ledgerx.checkpoints (
    tenant_id uuid NOT NULL,
    size bigint NOT NULL,
    root bytea NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT now(),
    note text NOT NULL,
    trial_balance text NOT NULL,
    verifier_keys text [] NOT NULL,
    CONSTRAINT checkpoints_pkey PRIMARY KEY (tenant_id, size),
    CONSTRAINT checkpoints_root_check CHECK (octet_length(root) = 32)
);

-- How far the audit has followed a journal, and how far its rows are read again: `recent` is about those of the last
-- hour, `full` about all of them. A pass that is due goes on at the entry `..._next`.
CREATE TABLE ledgerx.audits (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    recent_next bigint NOT NULL DEFAULT 0,
    recent_began_at timestamptz NOT NULL DEFAULT now(),
    recent_due_at timestamptz NOT NULL DEFAULT now(),
    full_next bigint NOT NULL DEFAULT 0,
    full_began_at timestamptz NOT NULL DEFAULT now(),
    full_due_at timestamptz NOT NULL DEFAULT now(),
    guarded_next bigint NOT NULL DEFAULT 0,
    CONSTRAINT audits_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT audits_hash_check CHECK (octet_length(hash) = 32)
) WITH (fillfactor = 50);
CREATE INDEX audits_recent_due ON ledgerx.audits (recent_due_at, tenant_id);
CREATE INDEX audits_full_due ON ledgerx.audits (full_due_at, tenant_id);

-- The audit's own sums of accounts with limits, as of the entry that it has reached.
CREATE TABLE ledgerx.audit_balances (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    type text NOT NULL,
    min_balance numeric,
    max_balance numeric,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    CONSTRAINT audit_balances_pkey PRIMARY KEY (tenant_id, account_id)
) WITH (fillfactor = 70);

-- What is wrong with a journal. `seq` is 0 where it is about no entry.
CREATE TABLE ledgerx.findings (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL,
    what text NOT NULL,
    found_by text NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT findings_pkey PRIMARY KEY (tenant_id, seq, what)
);

-- When a tenant's balances are captured, and how far that is: `boundary` is the moment to come or under way, the
-- entries up to `seq` are in the last snapshot, those up to `captured_seq` in the one under way, which is at `upto_seq`;
-- what the snapshot `pruned_seq`, the latest beyond the retention, replaces is gone.
CREATE TABLE ledgerx.snapshot_schedules (
    tenant_id uuid NOT NULL,
    schedule text [] NOT NULL DEFAULT '{0 * * * *,0 0 * * *}',
    retention_days integer NOT NULL DEFAULT 400,
    boundary timestamptz NOT NULL DEFAULT now(),
    seq bigint NOT NULL DEFAULT 0,
    upto_seq bigint,
    captured_seq bigint NOT NULL DEFAULT 0,
    pruned_seq bigint NOT NULL DEFAULT 0,
    CONSTRAINT snapshot_schedules_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT snapshot_schedules_schedule_check CHECK (cardinality(schedule) BETWEEN 1 AND 8),
    CONSTRAINT snapshot_schedules_retention_check CHECK (retention_days BETWEEN 1 AND 36500)
) WITH (fillfactor = 70);
CREATE INDEX snapshot_schedules_boundary ON ledgerx.snapshot_schedules (boundary, tenant_id);

-- A snapshot of a tenant: what was recorded before `taken_at`, up to the entry `seq`.
CREATE TABLE ledgerx.snapshots (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL,
    taken_at timestamptz NOT NULL,
    CONSTRAINT snapshots_pkey PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX snapshots_taken_at ON ledgerx.snapshots (tenant_id, taken_at);

-- The accounts that changed since the snapshot before; of the others the balance of an earlier one is in force.
CREATE TABLE ledgerx.snapshot_balances (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    seq bigint NOT NULL,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    CONSTRAINT snapshot_balances_pkey PRIMARY KEY (tenant_id, account_id, seq)
);
CREATE INDEX snapshot_balances_seq ON ledgerx.snapshot_balances (tenant_id, seq, account_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'merkle_tiles', 'merkle_trees', 'checkpoints', 'audits', 'audit_balances', 'findings', 'snapshot_schedules',
        'snapshots', 'snapshot_balances'
    ] LOOP
        EXECUTE format('ALTER TABLE ledgerx.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE ledgerx.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON ledgerx.%I USING (tenant_id = (SELECT ledgerx.current_tenant()))', name
        );
    END LOOP;
END
$$;

DO $$
DECLARE
    tenant uuid;
BEGIN
    FOR tenant IN SELECT tenant_id FROM ledgerx.tenants LOOP
        PERFORM set_config('ledgerx.tenant', tenant::text, true);
        INSERT INTO ledgerx.snapshot_schedules (tenant_id) VALUES (tenant);
    END LOOP;
    PERFORM set_config('ledgerx.tenant', '', true);
END
$$;

-- What is due, of every tenant, the most overdue first: ids and nothing else.
CREATE POLICY due ON ledgerx.merkle_trees FOR SELECT TO ledgerx_owner USING (true);
CREATE FUNCTION ledgerx.due_checkpoints(interval_s double precision, most integer) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
BEGIN ATOMIC
    SELECT t.tenant_id FROM ledgerx.merkle_trees AS t
    WHERE t.unsigned_since <= now() - make_interval(secs => interval_s)
    ORDER BY t.unsigned_since LIMIT least(most, 1000);
END;

CREATE POLICY due ON ledgerx.audits FOR SELECT TO ledgerx_owner USING (true);
CREATE FUNCTION ledgerx.due_audits(most integer) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
BEGIN ATOMIC
    SELECT DISTINCT due.tenant_id FROM (
        (
            SELECT a.tenant_id FROM ledgerx.audits AS a
            WHERE a.recent_due_at <= now() ORDER BY a.recent_due_at LIMIT least(most, 1000)
        )
        UNION ALL
        (
            SELECT a.tenant_id FROM ledgerx.audits AS a
            WHERE a.full_due_at <= now() ORDER BY a.full_due_at LIMIT least(most, 1000)
        )
    ) AS due;
END;

CREATE POLICY due ON ledgerx.snapshot_schedules FOR SELECT TO ledgerx_owner USING (true);
CREATE FUNCTION ledgerx.due_snapshots(moment timestamptz, most integer) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
BEGIN ATOMIC
    SELECT s.tenant_id FROM ledgerx.snapshot_schedules AS s
    WHERE s.boundary <= moment ORDER BY s.boundary LIMIT least(most, 1000);
END;

REVOKE EXECUTE ON FUNCTION ledgerx.due_checkpoints (double precision, integer) FROM public;
REVOKE EXECUTE ON FUNCTION ledgerx.due_audits (integer) FROM public;
REVOKE EXECUTE ON FUNCTION ledgerx.due_snapshots (timestamptz, integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.due_checkpoints (double precision, integer) TO ledgerx_streams;
GRANT EXECUTE ON FUNCTION ledgerx.due_audits (integer) TO ledgerx_streams;
GRANT EXECUTE ON FUNCTION ledgerx.due_snapshots (timestamptz, integer) TO ledgerx_streams;

GRANT SELECT ON ledgerx.merkle_tiles, ledgerx.checkpoints, ledgerx.findings, ledgerx.snapshot_schedules,
ledgerx.snapshots, ledgerx.snapshot_balances
TO ledgerx_api;

GRANT SELECT ON ledgerx.guarded_balances TO ledgerx_streams;
GRANT SELECT, INSERT, UPDATE ON ledgerx.merkle_tiles, ledgerx.merkle_trees, ledgerx.audits, ledgerx.findings,
ledgerx.snapshot_schedules
TO ledgerx_streams;
GRANT SELECT, INSERT ON ledgerx.checkpoints TO ledgerx_streams;
GRANT SELECT, INSERT, DELETE ON ledgerx.snapshots, ledgerx.snapshot_balances TO ledgerx_streams;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledgerx.audit_balances TO ledgerx_streams;

RESET ROLE;
