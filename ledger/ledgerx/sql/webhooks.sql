-- name: lock_endpoints
-- Serialises the making of a tenant's endpoints, which are counted.
SELECT pg_advisory_xact_lock(hashtextextended('ledgerx.webhooks ' || %(tenant_id)s::text, 0));

-- name: count_endpoints
-- How many endpoints a tenant has.
SELECT count(*) FROM ledgerx.webhook_endpoints WHERE tenant_id = %(tenant_id)s;

-- name: head
-- The number of the journal's last entry.
SELECT seq FROM ledgerx.heads WHERE tenant_id = %(tenant_id)s;

-- name: insert_endpoint
-- A new endpoint, to which entries go from `next_seq` on.
INSERT INTO ledgerx.webhook_endpoints (
    tenant_id, endpoint_id, url, description, event_types, secret, next_seq, known_seq
)
VALUES (
    %(tenant_id)s, %(endpoint_id)s, %(url)s, %(description)s, %(event_types)s, %(secret)s, %(next_seq)s, %(known_seq)s
);

-- name: set_handle
-- By what somebody outside knows an endpoint.
UPDATE ledgerx.webhook_endpoints SET handle = %(handle)s
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s;

-- name: declared_endpoint
-- What somebody outside declared by a handle, with its sealed secret.
SELECT endpoint_id, secret FROM ledgerx.webhook_endpoints WHERE tenant_id = %(tenant_id)s AND handle = %(handle)s;

-- name: other_endpoints
-- What somebody outside declared by other handles.
SELECT endpoint_id FROM ledgerx.webhook_endpoints
WHERE tenant_id = %(tenant_id)s AND handle IS NOT NULL AND handle <> all(%(handles)s::text []);

-- name: endpoint
-- One endpoint.
SELECT endpoint_id, url, description, event_types, status, disabled_reason, version, created_at, updated_at, next_seq,
    greatest(known_seq - next_seq + 1, 0), cardinality(asked), failures, tried_since, retry_at,
    CASE WHEN previous_until > now() THEN previous_until END
FROM ledgerx.webhook_endpoints
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s;

-- name: lock_endpoint
-- Holds an endpoint against changes.
SELECT FROM ledgerx.webhook_endpoints WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s FOR UPDATE;

-- name: endpoints_page
-- Endpoints in the order in which they were made, after an endpoint.
SELECT endpoint_id, url, description, event_types, status, disabled_reason, version, created_at, updated_at, next_seq,
    greatest(known_seq - next_seq + 1, 0), cardinality(asked), failures, tried_since, retry_at,
    CASE WHEN previous_until > now() THEN previous_until END
FROM ledgerx.webhook_endpoints
WHERE tenant_id = %(tenant_id)s AND endpoint_id > %(after)s
ORDER BY endpoint_id
LIMIT %(limit)s;

-- name: update_endpoint
-- An endpoint as a change leaves it.
UPDATE ledgerx.webhook_endpoints
SET url = %(url)s, description = %(description)s, event_types = %(event_types)s, status = %(status)s,
    disabled_reason = %(disabled_reason)s, version = version + 1, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s;

-- name: restart
-- Lets an endpoint go on at an entry as if nothing had failed; where none is said, where it stands.
UPDATE ledgerx.webhook_endpoints
SET next_seq = coalesce(%(from_seq)s, next_seq), attempts = 0, tried_since = NULL, failures = 0, dead_in_a_row = 0,
    retry_at = NULL, due_at = now()
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s;

-- name: stop
-- Nobody has to look at an endpoint that is disabled.
UPDATE ledgerx.webhook_endpoints SET due_at = NULL, retry_at = NULL, asked = '{}'
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s;

-- name: ask
-- Asks for one entry out of turn, or with 0 for a ping.
UPDATE ledgerx.webhook_endpoints SET asked = asked || %(seq)s::bigint, due_at = now()
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s;

-- name: rotate_secret
-- A new secret; the one before stays good for a while.
UPDATE ledgerx.webhook_endpoints
SET previous_secret = secret, previous_until = now() + make_interval(secs => %(overlap_s)s), secret = %(secret)s,
    version = version + 1, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s;

-- name: delete_endpoint
-- Sends nothing there any more.
DELETE FROM ledgerx.webhook_endpoints WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s;

-- name: deliveries_page
-- Attempts at an endpoint, newest first, from the newest before an attempt.
SELECT delivery_id, attempted_at, cause, seq, event_type, attempt, outcome, status_code, error, duration_ms
FROM ledgerx.webhook_deliveries
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s AND delivery_id < %(before)s
ORDER BY delivery_id DESC
LIMIT %(limit)s;

-- name: deliveries_page_by_outcome
-- Those of one outcome.
SELECT delivery_id, attempted_at, cause, seq, event_type, attempt, outcome, status_code, error, duration_ms
FROM ledgerx.webhook_deliveries
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s AND outcome = %(outcome)s
    AND delivery_id < %(before)s
ORDER BY delivery_id DESC
LIMIT %(limit)s;
