-- Exports: files of a tenant's data, asked for by the API and written by the streams.
-- depends: 0012.reading_at_scale

SET ROLE ledgerx_owner;

-- One row an export, and where it stands. `due_at` is when somebody has to look at it: a queued one may be taken, a
-- running one's lease has run out, a done one expires, and of all others a file may be left, or they may be forgotten.
CREATE TABLE ledgerx.exports (
    tenant_id uuid NOT NULL,
    export_id uuid NOT NULL,
    format text NOT NULL,
    dataset text NOT NULL,
    filters text NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz,
    status text NOT NULL DEFAULT 'queued',
    actor text NOT NULL,
    traceparent text,
    requested_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    due_at timestamptz NOT NULL DEFAULT now(),
    worker uuid,
    attempt smallint NOT NULL DEFAULT 0,
    progress real NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    sha256 bytea,
    path text,
    keeps_file boolean NOT NULL DEFAULT false,
    error_code text,
    error_detail text,
    CONSTRAINT exports_pkey PRIMARY KEY (tenant_id, export_id),
    CONSTRAINT exports_format_check CHECK (format IN ('csv', 'jsonl', 'parquet', 'beancount')),
    CONSTRAINT exports_status_check CHECK (
        status IN ('queued', 'running', 'done', 'failed', 'cancelled', 'expired')
    ),
    CONSTRAINT exports_running_check CHECK ((status = 'running') = (worker IS NOT NULL)),
    CONSTRAINT exports_done_check CHECK (
        status <> 'done' OR (sha256 IS NOT NULL AND path IS NOT NULL AND octet_length(sha256) = 32)
    ),
    CONSTRAINT exports_progress_check CHECK (progress BETWEEN 0 AND 1)
) WITH (fillfactor = 50);
-- A tenant's exports are written one after the other: it does not take all workers.
CREATE UNIQUE INDEX exports_running ON ledgerx.exports (tenant_id) WHERE status = 'running';
-- Whoever works them off looks for due ones of all tenants at once.
CREATE INDEX exports_due ON ledgerx.exports (due_at, tenant_id, export_id);

ALTER TABLE ledgerx.exports ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledgerx.exports FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON ledgerx.exports USING (tenant_id = (SELECT ledgerx.current_tenant()));

GRANT SELECT ON ledgerx.exports TO ledgerx_api;
GRANT INSERT (tenant_id, export_id, format, dataset, filters, seq, recorded_at, actor, traceparent) ON ledgerx.exports
TO ledgerx_api;
GRANT UPDATE (status, worker, finished_at, due_at) ON ledgerx.exports TO ledgerx_api;
GRANT SELECT, DELETE ON ledgerx.exports TO ledgerx_streams;
GRANT UPDATE (
    status, started_at, finished_at, due_at, worker, attempt, progress, rows, bytes, sha256, path, keeps_file,
    error_code, error_detail
) ON ledgerx.exports TO ledgerx_streams;
-- Filters look for transactions by their terms, as lists do.
GRANT SELECT ON ledgerx.search_terms TO ledgerx_streams;

-- The exports that somebody has to look at, the longest due first: ids only, of every tenant.
-- What looks across tenants says so, as the function does: the owner too sees one tenant otherwise.
CREATE POLICY due ON ledgerx.exports FOR SELECT TO ledgerx_owner
USING ((SELECT current_setting('ledgerx.across_tenants', true)) = 'exports');
CREATE FUNCTION ledgerx.due_exports(most integer) RETURNS TABLE (tenant_id uuid, export_id uuid, status text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
AS $$
BEGIN
    PERFORM set_config('ledgerx.across_tenants', 'exports', true);
    RETURN QUERY
    SELECT e.tenant_id, e.export_id, e.status FROM ledgerx.exports AS e
    WHERE e.due_at <= now()
        -- One that has to wait for another of its tenant is nothing to look at.
        AND (
            e.status <> 'queued' OR NOT EXISTS (
                SELECT FROM ledgerx.exports AS r WHERE r.tenant_id = e.tenant_id AND r.status = 'running'
            )
        )
    ORDER BY e.due_at LIMIT least(most, 1000);
    PERFORM set_config('ledgerx.across_tenants', '', true);
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.due_exports (integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.due_exports (integer) TO ledgerx_streams;

RESET ROLE;
