-- The journal and all that hangs on it. Every key of a tenant's table begins with tenant_id.
-- depends:

-- Roles are server-wide and may be there already: another database of the same server made them.
-- They cannot log in before an administrator gives them a password.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledgerx_owner') THEN
        CREATE ROLE ledgerx_owner LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledgerx_api') THEN
        CREATE ROLE ledgerx_api LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledgerx_streams') THEN
        CREATE ROLE ledgerx_streams LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledgerx_relay') THEN
        CREATE ROLE ledgerx_relay LOGIN REPLICATION;
    END IF;
END
$$;

CREATE SCHEMA ledgerx AUTHORIZATION ledgerx_owner;
GRANT USAGE ON SCHEMA ledgerx TO ledgerx_api, ledgerx_streams, ledgerx_relay;

SET ROLE ledgerx_owner;

-- The tenant that the current transaction may see; null (and so no row at all) where none is set.
CREATE FUNCTION ledgerx.current_tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('ledgerx.tenant', true), '')::uuid;

CREATE TABLE ledgerx.tenants (
    tenant_id uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    time_zone text NOT NULL DEFAULT 'UTC',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenants_name_key UNIQUE (name),
    CONSTRAINT tenants_name_check CHECK (name ~ '^[a-z0-9]([a-z0-9./-]{0,125}[a-z0-9])?$')
);

CREATE TABLE ledgerx.heads (
    tenant_id uuid PRIMARY KEY,
    seq bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT heads_seq_check CHECK (seq >= 0),
    CONSTRAINT heads_hash_check CHECK (octet_length(hash) = 32)
) WITH (fillfactor = 50);

CREATE TABLE ledgerx.api_clients (
    tenant_id uuid NOT NULL,
    client_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    secret_sha256 bytea NOT NULL,
    scopes text [] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CONSTRAINT api_clients_pkey PRIMARY KEY (tenant_id, client_id),
    CONSTRAINT api_clients_secret_check CHECK (octet_length(secret_sha256) = 32)
);

-- The present state of each account, as the account entries of the journal left it.
CREATE TABLE ledgerx.accounts (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    code text COLLATE "C" NOT NULL,
    asset text COLLATE "C" NOT NULL,
    scale smallint NOT NULL,
    type text NOT NULL,
    status text NOT NULL DEFAULT 'open',
    min_balance numeric,
    max_balance numeric,
    metadata text,
    opened_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    CONSTRAINT accounts_pkey PRIMARY KEY (tenant_id, account_id),
    CONSTRAINT accounts_code_key UNIQUE (tenant_id, code),
    CONSTRAINT accounts_code_check CHECK (code ~ '^[A-Za-z0-9._:-]{1,255}$'),
    CONSTRAINT accounts_scale_check CHECK (scale BETWEEN 0 AND 30),
    CONSTRAINT accounts_type_check CHECK (type IN ('asset', 'liability', 'equity', 'revenue', 'expense')),
    CONSTRAINT accounts_status_check CHECK (status IN ('open', 'frozen', 'closed')),
    CONSTRAINT accounts_limits_check CHECK (min_balance <= max_balance),
    CONSTRAINT accounts_seq_check CHECK (account_id > 0 AND seq >= account_id)
);

-- Sums of the accounts with limits, owned by the engine and written with the postings. Debits are positive.
CREATE TABLE ledgerx.guarded_balances (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    seq bigint NOT NULL,
    CONSTRAINT guarded_balances_pkey PRIMARY KEY (tenant_id, account_id),
    CONSTRAINT guarded_balances_pending_check CHECK (pending_debit >= 0 AND pending_credit <= 0)
) WITH (fillfactor = 70);

CREATE TABLE ledgerx.entries (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    effective_at timestamptz,
    kind text NOT NULL,
    actor text NOT NULL,
    idempotency_key text COLLATE "C",
    fingerprint bytea,
    reference text,
    category text,
    description text,
    metadata text,
    annotations_hash bytea,
    change text,
    hash bytea NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (tenant_id, seq),
    CONSTRAINT entries_seq_check CHECK (seq > 0),
    CONSTRAINT entries_kind_check CHECK (
        kind IN ('post', 'open_account', 'limit_account', 'freeze_account', 'unfreeze_account', 'close_account')
    ),
    CONSTRAINT entries_change_check CHECK ((kind = 'post') = (change IS NULL)),
    CONSTRAINT entries_hash_check CHECK (octet_length(hash) = 32)
);
CREATE UNIQUE INDEX entries_idempotency_key ON ledgerx.entries (tenant_id, idempotency_key)
WHERE idempotency_key IS NOT NULL;

-- Debits are positive, credits negative; layer 0 is posted, 1 pending debits, 2 pending credits.
CREATE TABLE ledgerx.postings (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL,
    account_id bigint NOT NULL,
    line smallint NOT NULL,
    layer smallint NOT NULL,
    amount numeric NOT NULL,
    effective_at timestamptz,
    CONSTRAINT postings_pkey PRIMARY KEY (tenant_id, seq, line),
    CONSTRAINT postings_line_check CHECK (line BETWEEN 0 AND 999),
    CONSTRAINT postings_layer_check CHECK (layer BETWEEN 0 AND 2),
    CONSTRAINT postings_amount_check CHECK (amount <> 0)
);
CREATE UNIQUE INDEX postings_account ON ledgerx.postings (tenant_id, account_id, seq, line);

-- Column names are those of Debezium's outbox event router. Nothing is granted on the partitions themselves.
-- recorded_at is the database's own clock here, so that a skewed clock of a writer cannot miss the partitions.
CREATE TABLE ledgerx.outbox (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    aggregatetype text NOT NULL,
    aggregateid text NOT NULL,
    type text NOT NULL,
    payload text NOT NULL,
    traceparent text,
    first_seq bigint,
    last_seq bigint,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT outbox_pkey PRIMARY KEY (tenant_id, id, recorded_at)
) PARTITION BY RANGE (recorded_at);

-- Written by the streams.
CREATE TABLE ledgerx.projections (
    tenant_id uuid NOT NULL,
    projection text NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT projections_pkey PRIMARY KEY (tenant_id, projection),
    CONSTRAINT projections_hash_check CHECK (octet_length(hash) = 32)
) WITH (fillfactor = 50);

CREATE TABLE ledgerx.balances (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    seq bigint NOT NULL,
    CONSTRAINT balances_pkey PRIMARY KEY (tenant_id, account_id)
) WITH (fillfactor = 70);

-- An account's sums just after its posting number `postings`, a multiple of 1,000.
CREATE TABLE ledgerx.marks (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    seq bigint NOT NULL,
    line smallint NOT NULL,
    postings bigint NOT NULL,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    CONSTRAINT marks_pkey PRIMARY KEY (tenant_id, account_id, seq, line),
    CONSTRAINT marks_postings_check CHECK (postings > 0 AND postings % 1000 = 0)
);

-- The sums from which the next mark of an account is made.
CREATE TABLE ledgerx.mark_tails (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    postings bigint NOT NULL,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    CONSTRAINT mark_tails_pkey PRIMARY KEY (tenant_id, account_id)
) WITH (fillfactor = 70);

-- Entries and postings are never updated or deleted: the privileges are missing, and this refuses the owner too.
CREATE FUNCTION ledgerx.refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only: % on % refused', tg_op, tg_table_name
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledgerx.entries
FOR EACH STATEMENT EXECUTE FUNCTION ledgerx.refuse_change();
CREATE TRIGGER postings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledgerx.postings
FOR EACH STATEMENT EXECUTE FUNCTION ledgerx.refuse_change();

-- Row-level security, forced on the owner as well: without `ledgerx.tenant` nobody sees a row.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenants', 'heads', 'api_clients', 'accounts', 'guarded_balances', 'entries', 'postings', 'outbox',
        'projections', 'balances', 'marks', 'mark_tails'
    ] LOOP
        EXECUTE format('ALTER TABLE ledgerx.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE ledgerx.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON ledgerx.%I USING (tenant_id = (SELECT ledgerx.current_tenant()))', name
        );
    END LOOP;
END
$$;
-- The owner keeps the registry of tenants; the relay carries every tenant's outbox.
CREATE POLICY registry ON ledgerx.tenants TO ledgerx_owner USING (true);
CREATE POLICY relay ON ledgerx.outbox FOR SELECT TO ledgerx_relay USING (true);

GRANT SELECT ON ledgerx.tenants, ledgerx.heads, ledgerx.api_clients, ledgerx.accounts, ledgerx.guarded_balances,
ledgerx.entries, ledgerx.postings, ledgerx.outbox, ledgerx.projections, ledgerx.balances, ledgerx.marks
TO ledgerx_api;
GRANT INSERT ON ledgerx.accounts, ledgerx.guarded_balances, ledgerx.entries, ledgerx.postings, ledgerx.outbox
TO ledgerx_api;
GRANT UPDATE (seq, hash, recorded_at) ON ledgerx.heads TO ledgerx_api;
GRANT UPDATE (status, min_balance, max_balance, seq) ON ledgerx.accounts TO ledgerx_api;
GRANT UPDATE (posted, pending_debit, pending_credit, seq) ON ledgerx.guarded_balances TO ledgerx_api;
GRANT DELETE ON ledgerx.guarded_balances TO ledgerx_api;

GRANT SELECT ON ledgerx.tenants, ledgerx.heads, ledgerx.accounts, ledgerx.entries, ledgerx.postings
TO ledgerx_streams;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledgerx.projections, ledgerx.balances, ledgerx.marks, ledgerx.mark_tails
TO ledgerx_streams;

GRANT SELECT ON ledgerx.outbox TO ledgerx_relay;

-- Makes the outbox partitions, one a UTC day, from today to `days_ahead` days from now. Anyone who writes or relays
-- may call it, so that a stopped relay never stops the writes.
CREATE FUNCTION ledgerx.make_outbox_partitions(days_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
DECLARE
    first_day date := (now() AT TIME ZONE 'UTC')::date;
    day date;
    name text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ledgerx.outbox_partitions'));
    FOR day IN SELECT first_day + n FROM generate_series(0, least(days_ahead, 31)) AS n LOOP
        name := 'outbox_' || to_char(day, 'YYYYMMDD');
        IF to_regclass('ledgerx.' || name) IS NULL THEN
            -- Made and then attached: CREATE TABLE ... PARTITION OF would stop all writers while it waits for its lock.
            EXECUTE format('CREATE TABLE ledgerx.%I (LIKE ledgerx.outbox INCLUDING ALL)', name);
            EXECUTE format(
                'ALTER TABLE ledgerx.outbox ATTACH PARTITION ledgerx.%I FOR VALUES FROM (%L) TO (%L)',
                name, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00'
            );
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.make_outbox_partitions (integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.make_outbox_partitions (integer) TO ledgerx_api, ledgerx_relay;

DO $$ BEGIN PERFORM ledgerx.make_outbox_partitions(7); END $$;

RESET ROLE;

CREATE PUBLICATION ledgerx FOR TABLE ledgerx.outbox WITH (publish = 'insert', publish_via_partition_root = true);
