-- What is declared from outside beside the tenant: webhooks, exports to named places, the outbox's retention; and more
-- to see of a tenant's use.
-- depends: 0019.databases

SET ROLE ledgerx_owner;

-- What somebody outside knows an endpoint by who declares it; null for those made over HTTP.
ALTER TABLE ledgerx.webhook_endpoints
ADD COLUMN handle text COLLATE "C",
ADD CONSTRAINT webhook_endpoints_handle_key UNIQUE (tenant_id, handle);

-- Which of the platform's destinations gets the file; null for the storage that the API gives files out of.
ALTER TABLE ledgerx.exports ADD COLUMN destination text COLLATE "C";

-- One row. Null is what the streams are set to.
CREATE TABLE ledgerx.outbox_settings (
    retention_days integer,
    CONSTRAINT outbox_settings_retention_check CHECK (retention_days BETWEEN 1 AND 3650)
);
INSERT INTO ledgerx.outbox_settings VALUES (NULL);
ALTER TABLE ledgerx.outbox_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledgerx.outbox_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY settings ON ledgerx.outbox_settings TO ledgerx_owner USING (true);

-- For how many days the outbox is kept: as declared, else `usual`.
CREATE FUNCTION ledgerx.outbox_retention_days(usual integer) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT coalesce((SELECT s.retention_days FROM ledgerx.outbox_settings AS s), usual);
END;
REVOKE EXECUTE ON FUNCTION ledgerx.outbox_retention_days (integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.outbox_retention_days (integer) TO ledgerx_streams;

-- How much each tenant holds and how it is, for the owner of the schema; to be called as a transaction of its own.
-- Transactions are all entries but those of few kinds, which an index counts. `lag_s` is for how many seconds the next
-- entry of the slowest projection has waited. `webhooks_down` are the endpoints that sending has given up on.
DROP FUNCTION ledgerx.tenants_usage();
CREATE FUNCTION ledgerx.tenants_usage()
RETURNS TABLE (
    tenant_id uuid, accounts bigint, seq bigint, recorded_at timestamptz, transactions bigint,
    last_transaction_at timestamptz, lag_s double precision, findings bigint, webhooks_down bigint
)
LANGUAGE plpgsql SET search_path = pg_catalog SET enable_seqscan = off
AS $$
DECLARE
    one uuid;
BEGIN
    FOR one IN SELECT t.tenant_id FROM ledgerx.tenants AS t WHERE t.state <> 'purged' LOOP
        PERFORM set_config('ledgerx.tenant', one::text, true);
        RETURN QUERY
        SELECT h.tenant_id, h.accounts, h.seq, h.recorded_at, h.seq - h.accounts - o.entries, l.recorded_at,
            CASE WHEN w.recorded_at IS NULL THEN 0
                ELSE greatest(extract(epoch FROM clock_timestamp() - w.recorded_at), 0) END::double precision,
            (SELECT count(*) FROM ledgerx.findings AS f WHERE f.tenant_id = one),
            (
                SELECT count(*) FROM ledgerx.webhook_endpoints AS e
                WHERE e.tenant_id = one AND e.disabled_reason IN ('gone', 'failing')
            )
        FROM ledgerx.heads AS h
        CROSS JOIN LATERAL (
            SELECT count(*) AS entries FROM ledgerx.entries AS e
            WHERE e.tenant_id = one AND e.kind <> 'post' AND e.kind IN (
                'amend', 'update_account', 'close_account', 'create_asset', 'update_asset', 'delete_asset',
                'create_category', 'update_category', 'delete_category', 'change_settings'
            )
        ) AS o
        LEFT JOIN LATERAL (
            SELECT p.seq FROM ledgerx.postings AS p WHERE p.tenant_id = one ORDER BY p.seq DESC LIMIT 1
        ) AS t ON true
        LEFT JOIN LATERAL (
            SELECT e.recorded_at FROM ledgerx.entries AS e WHERE e.tenant_id = one AND e.seq = t.seq OFFSET 0
        ) AS l ON true
        CROSS JOIN LATERAL (
            SELECT coalesce(min(p.seq), 0) AS seq FROM ledgerx.projections AS p WHERE p.tenant_id = one
        ) AS b
        LEFT JOIN LATERAL (
            SELECT e.recorded_at FROM ledgerx.entries AS e WHERE e.tenant_id = one AND e.seq = b.seq + 1 OFFSET 0
        ) AS w ON true
        WHERE h.tenant_id = one;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.tenants_usage () FROM public;

RESET ROLE;
