-- Exports as the API sees them. Who works them off has its own statements.

-- name: lock_exports
-- Serialises the requests of a tenant, so that together they open no more than there is room for.
SELECT pg_advisory_xact_lock(hashtextextended('ledgerx.exports ' || %(tenant_id)s::text, 0));

-- name: room
-- How many exports of the tenant wait or run, and the bytes that its files take.
SELECT
    count(*) FILTER (WHERE status IN ('queued', 'running')),
    coalesce(sum(bytes) FILTER (WHERE keeps_file), 0)::bigint
FROM ledgerx.exports
WHERE tenant_id = %(tenant_id)s;

-- name: insert_export
-- An export that is true at the entry which was the last one at a moment, now unless said.
INSERT INTO ledgerx.exports (
    tenant_id, export_id, format, dataset, filters, seq, recorded_at, actor, traceparent
)
SELECT
    %(tenant_id)s, %(export_id)s, %(format)s, %(dataset)s, %(filters)s, known.seq, e.recorded_at, %(actor)s,
    %(traceparent)s
FROM (
    SELECT CASE WHEN %(as_of)s::timestamptz IS NULL THEN seq ELSE ledgerx.last_seq_at(tenant_id, %(as_of)s) END AS seq
    FROM ledgerx.heads
    WHERE tenant_id = %(tenant_id)s
    OFFSET 0
) AS known
LEFT JOIN LATERAL (
    SELECT recorded_at FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = known.seq OFFSET 0
) AS e ON true
RETURNING
    export_id, format, dataset, filters, seq, recorded_at, status, actor, requested_at, started_at, finished_at, due_at,
    progress, rows, bytes, sha256, path, error_code, error_detail, destination;

-- name: set_destination
-- Where the file goes instead of the storage that files are given out of.
UPDATE ledgerx.exports SET destination = %(destination)s
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s;

-- name: insert_outbox
-- The event that tells the streams of an export.
INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, traceparent)
VALUES (
    %(id)s, %(tenant_id)s, %(aggregatetype)s, %(tenant_id)s::text, %(type)s, %(payload)s, %(traceparent)s
);

-- name: export
-- One export.
SELECT
    export_id, format, dataset, filters, seq, recorded_at, status, actor, requested_at, started_at, finished_at, due_at,
    progress, rows, bytes, sha256, path, error_code, error_detail, destination
FROM ledgerx.exports
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s;

-- name: exports_page
-- The newest exports before one.
SELECT
    export_id, format, dataset, filters, seq, recorded_at, status, actor, requested_at, started_at, finished_at, due_at,
    progress, rows, bytes, sha256, path, error_code, error_detail, destination
FROM ledgerx.exports
WHERE tenant_id = %(tenant_id)s AND export_id < %(before)s
ORDER BY export_id DESC
LIMIT %(limit)s;

-- name: end_export
-- Cancels an export that is not done, or gives up the file of one that is. Its worker has a moment to notice.
UPDATE ledgerx.exports
SET
    status = CASE status WHEN 'done' THEN 'expired' ELSE 'cancelled' END,
    worker = NULL,
    finished_at = CASE WHEN finished_at IS NULL THEN now() ELSE finished_at END,
    due_at = now() + CASE
        WHEN status = 'running' THEN %(grace_s)s * interval '1 second'
        WHEN keeps_file THEN interval '0'
        ELSE %(show_days)s * interval '1 day'
    END
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND status IN ('queued', 'running', 'done')
RETURNING status;
