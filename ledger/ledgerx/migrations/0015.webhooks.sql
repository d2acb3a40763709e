-- Webhooks: where events of a tenant are sent, how far that has come, and a log of the attempts.
-- depends: 0014.exports

SET ROLE ledgerx_owner;

-- The API says where to send what; the streams write how far they are. All that decides whether there is something to
-- do is in the one row, so that no news can slip between two that write it: `next_seq` is the next entry to look at,
-- `known_seq` the last that there is to look at, `asked` are entries to send once more out of turn (0 is a ping),
-- `retry_at` is when the entry that failed is tried again, and `due_at` when somebody has to look at the row: null
-- while there is nothing to send. A worker sends while it has the lease. Secrets are sealed by a key that is not here.
CREATE TABLE ledgerx.webhook_endpoints (
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    url text NOT NULL,
    description text,
    event_types text [] COLLATE "C",
    status text NOT NULL DEFAULT 'enabled',
    disabled_reason text,
    secret bytea NOT NULL,
    previous_secret bytea,
    previous_until timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    next_seq bigint NOT NULL,
    known_seq bigint NOT NULL,
    asked bigint [] NOT NULL DEFAULT '{}',
    attempts integer NOT NULL DEFAULT 0,
    tried_since timestamptz,
    failures integer NOT NULL DEFAULT 0,
    dead_in_a_row integer NOT NULL DEFAULT 0,
    is_slow boolean NOT NULL DEFAULT false,
    retry_at timestamptz,
    due_at timestamptz DEFAULT now(),
    lease_id uuid,
    leased_until timestamptz,
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (tenant_id, endpoint_id),
    CONSTRAINT webhook_endpoints_status_check CHECK (status IN ('enabled', 'disabled')),
    CONSTRAINT webhook_endpoints_reason_check CHECK (
        (status = 'disabled') = (disabled_reason IS NOT NULL) AND disabled_reason IN ('requested', 'gone', 'failing')
    ),
    CONSTRAINT webhook_endpoints_seq_check CHECK (next_seq > 0 AND known_seq >= 0),
    CONSTRAINT webhook_endpoints_asked_check CHECK (cardinality(asked) <= 1000),
    CONSTRAINT webhook_endpoints_previous_check CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
) WITH (fillfactor = 50);
CREATE INDEX webhook_endpoints_due ON ledgerx.webhook_endpoints (due_at, tenant_id, endpoint_id)
WHERE due_at IS NOT NULL;

-- One row an attempt. An endpoint that is removed leaves its rows behind until their time is over.
CREATE TABLE ledgerx.webhook_deliveries (
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    attempted_at timestamptz NOT NULL DEFAULT now(),
    cause text NOT NULL,
    seq bigint,
    event_type text NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL,
    status_code smallint,
    error text,
    duration_ms integer NOT NULL,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (tenant_id, endpoint_id, delivery_id),
    CONSTRAINT webhook_deliveries_cause_check CHECK (cause IN ('event', 'redelivery', 'ping')),
    CONSTRAINT webhook_deliveries_outcome_check CHECK (outcome IN ('delivered', 'failed', 'dead', 'gone')),
    CONSTRAINT webhook_deliveries_seq_check CHECK ((cause = 'ping') = (seq IS NULL))
);
CREATE INDEX webhook_deliveries_outcome
ON ledgerx.webhook_deliveries (tenant_id, endpoint_id, outcome, delivery_id);
-- What is too old is looked for in all tenants at once.
CREATE INDEX webhook_deliveries_age ON ledgerx.webhook_deliveries (attempted_at, tenant_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['webhook_endpoints', 'webhook_deliveries'] LOOP
        EXECUTE format('ALTER TABLE ledgerx.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE ledgerx.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON ledgerx.%I USING (tenant_id = (SELECT ledgerx.current_tenant()))', name
        );
        -- What looks across tenants says so, as the functions below do: the owner too sees one tenant otherwise.
        EXECUTE format(
            'CREATE POLICY due ON ledgerx.%I FOR SELECT TO ledgerx_owner '
            'USING ((SELECT current_setting(''ledgerx.across_tenants'', true)) = ''webhooks'')', name
        );
    END LOOP;
END
$$;

GRANT SELECT, INSERT, DELETE ON ledgerx.webhook_endpoints TO ledgerx_api;
GRANT UPDATE (
    url, description, event_types, status, disabled_reason, secret, previous_secret, previous_until, version,
    updated_at, next_seq, asked, attempts, tried_since, failures, dead_in_a_row, retry_at, due_at
) ON ledgerx.webhook_endpoints TO ledgerx_api;
GRANT SELECT ON ledgerx.webhook_deliveries TO ledgerx_api;

GRANT SELECT ON ledgerx.webhook_endpoints TO ledgerx_streams;
GRANT UPDATE (
    status, disabled_reason, version, updated_at, next_seq, known_seq, asked, attempts, tried_since, failures,
    dead_in_a_row, is_slow, retry_at, due_at, lease_id, leased_until
) ON ledgerx.webhook_endpoints TO ledgerx_streams;
GRANT SELECT, INSERT, DELETE ON ledgerx.webhook_deliveries TO ledgerx_streams;
GRANT INSERT ON ledgerx.audit_log TO ledgerx_streams;

-- Endpoints that somebody has to look at and nobody does, those that answer slowly or all others: a turn for each
-- tenant before the second one of any. Ids only.
CREATE FUNCTION ledgerx.due_webhooks(slow boolean, most integer) RETURNS TABLE (tenant_id uuid, endpoint_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
AS $$
BEGIN
    PERFORM set_config('ledgerx.across_tenants', 'webhooks', true);
    RETURN QUERY
    SELECT d.tenant_id, d.endpoint_id
    FROM (
        SELECT e.tenant_id, e.endpoint_id, e.due_at,
            row_number() OVER (PARTITION BY e.tenant_id ORDER BY e.due_at) AS turn
        FROM ledgerx.webhook_endpoints AS e
        WHERE e.due_at <= now() AND e.status = 'enabled' AND coalesce(e.leased_until <= now(), true)
            AND e.is_slow = slow
    ) AS d
    ORDER BY d.turn, d.due_at
    LIMIT least(most, 1000);
    PERFORM set_config('ledgerx.across_tenants', '', true);
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.due_webhooks (boolean, integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.due_webhooks (boolean, integer) TO ledgerx_streams;

-- Tenants with attempts in their log from before a moment, the oldest first.
CREATE FUNCTION ledgerx.tenants_with_old_deliveries(before timestamptz, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
AS $$
BEGIN
    PERFORM set_config('ledgerx.across_tenants', 'webhooks', true);
    RETURN QUERY
    SELECT DISTINCT d.tenant_id
    FROM (
        SELECT o.tenant_id FROM ledgerx.webhook_deliveries AS o
        WHERE o.attempted_at < before ORDER BY o.attempted_at LIMIT least(most, 10000)
    ) AS d;
    PERFORM set_config('ledgerx.across_tenants', '', true);
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.tenants_with_old_deliveries (timestamptz, integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.tenants_with_old_deliveries (timestamptz, integer) TO ledgerx_streams;

-- What the metrics say of all endpoints together: those that wait for a retry after `failures_open` failures in a row,
-- entries that are still to be looked at, and for how many seconds the one that has failed for longest has.
CREATE FUNCTION ledgerx.webhooks_behind(failures_open integer)
RETURNS TABLE (open_circuits bigint, entries bigint, failing_s double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    PERFORM set_config('ledgerx.across_tenants', 'webhooks', true);
    RETURN QUERY
    SELECT
        count(*) FILTER (WHERE e.failures >= failures_open),
        coalesce(sum(greatest(e.known_seq - e.next_seq + 1, 0)), 0)::bigint,
        coalesce(extract(EPOCH FROM now() - min(e.tried_since)), 0)::double precision
    FROM ledgerx.webhook_endpoints AS e
    WHERE e.status = 'enabled' AND e.due_at IS NOT NULL;
    PERFORM set_config('ledgerx.across_tenants', '', true);
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.webhooks_behind (integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.webhooks_behind (integer) TO ledgerx_streams;

RESET ROLE;
