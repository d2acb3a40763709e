-- name: due
-- Endpoints that somebody has to look at and nobody does.
SELECT tenant_id, endpoint_id FROM ledgerx.due_webhooks(%(slow)s, %(most)s);

-- name: claim
-- Takes an endpoint for a turn. The head is looked at for endpoints that came to be when its news was under way.
UPDATE ledgerx.webhook_endpoints AS e
SET lease_id = %(lease_id)s, leased_until = now() + make_interval(secs => %(lease_s)s),
    known_seq = greatest(e.known_seq, h.seq)
FROM ledgerx.heads AS h
WHERE e.tenant_id = %(tenant_id)s AND e.endpoint_id = %(endpoint_id)s AND h.tenant_id = %(tenant_id)s
    AND e.status = 'enabled' AND e.due_at <= now() AND coalesce(e.leased_until <= now(), true);

-- name: state
-- An endpoint that one has taken.
SELECT url, event_types, secret, CASE WHEN previous_until > now() THEN previous_secret END, version, known_seq,
    asked[1], coalesce(retry_at <= now(), true), next_seq, attempts,
    coalesce(extract(EPOCH FROM now() - tried_since), 0)::double precision, failures, dead_in_a_row, is_slow
FROM ledgerx.webhook_endpoints
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s AND lease_id = %(lease_id)s AND status = 'enabled';

-- name: wanted
-- The first entry of some kinds in a stretch of the journal.
SELECT seq FROM ledgerx.entries
WHERE tenant_id = %(tenant_id)s AND seq BETWEEN %(first)s AND %(last)s AND kind = any(%(kinds)s)
ORDER BY seq
LIMIT 1;

-- name: move
-- Passes over entries that an endpoint does not want, unless it was sent elsewhere meanwhile.
UPDATE ledgerx.webhook_endpoints SET next_seq = %(next_seq)s
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s AND lease_id = %(lease_id)s
    AND next_seq = %(expected_seq)s AND version = %(version)s;

-- name: progress
-- Where an attempt left an endpoint, unless it was changed or sent elsewhere meanwhile: then that holds.
UPDATE ledgerx.webhook_endpoints
SET next_seq = %(next_seq)s, attempts = %(attempts)s, failures = %(failures)s, dead_in_a_row = %(dead_in_a_row)s,
    tried_since = CASE WHEN %(attempts)s > 0 THEN coalesce(tried_since, now()) END,
    is_slow = %(is_slow)s, retry_at = now() + make_interval(secs => %(pause_s)s)
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s AND lease_id = %(lease_id)s
    AND next_seq = %(expected_seq)s AND version = %(version)s;

-- name: answered
-- Takes away what was asked for first. A success ends the pause.
UPDATE ledgerx.webhook_endpoints
SET asked = asked[2:], failures = CASE WHEN %(delivered)s THEN 0 ELSE failures END,
    retry_at = CASE WHEN %(delivered)s THEN NULL ELSE retry_at END
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s AND lease_id = %(lease_id)s AND asked[1] = %(seq)s;

-- name: disable
-- Sends nothing there until somebody says so, unless it was changed meanwhile.
UPDATE ledgerx.webhook_endpoints
SET status = 'disabled', disabled_reason = %(reason)s, version = version + 1, updated_at = now(), asked = '{}'
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s AND lease_id = %(lease_id)s
    AND status = 'enabled' AND version = %(version)s
RETURNING endpoint_id;

-- name: release
-- Ends a turn, and says when the next one is due. All that this depends on is in the row, which others lock to change.
UPDATE ledgerx.webhook_endpoints
SET lease_id = NULL, leased_until = NULL,
    due_at = CASE
        WHEN status = 'disabled' THEN NULL
        WHEN asked <> '{}' THEN now()
        WHEN known_seq >= next_seq THEN greatest(now(), retry_at)
    END
WHERE tenant_id = %(tenant_id)s AND endpoint_id = %(endpoint_id)s AND lease_id = %(lease_id)s;

-- name: log
-- One attempt.
INSERT INTO ledgerx.webhook_deliveries (
    tenant_id, endpoint_id, delivery_id, cause, seq, event_type, attempt, outcome, status_code, error, duration_ms
)
VALUES (
    %(tenant_id)s, %(endpoint_id)s, %(delivery_id)s, %(cause)s, %(seq)s, %(event_type)s, %(attempt)s, %(outcome)s,
    %(status_code)s, %(error)s, %(duration_ms)s
);

-- name: tenants_with_old
-- Tenants that have attempts in their log for longer than these are kept.
SELECT ledgerx.tenants_with_old_deliveries(now() - make_interval(days => %(keep_days)s), %(most)s);

-- name: drop_old
-- Some of a tenant's.
DELETE FROM ledgerx.webhook_deliveries
WHERE tenant_id = %(tenant_id)s AND (endpoint_id, delivery_id) IN (
    SELECT endpoint_id, delivery_id FROM ledgerx.webhook_deliveries
    WHERE tenant_id = %(tenant_id)s AND attempted_at < now() - make_interval(days => %(keep_days)s)
    ORDER BY attempted_at
    LIMIT %(most)s
);

-- name: behind
-- What the metrics say of all endpoints together.
SELECT open_circuits, entries, failing_s FROM ledgerx.webhooks_behind(%(failures_open)s);
