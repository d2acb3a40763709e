-- name: lock
-- Whether nobody else looks for projections that are behind, who then do not until `unlock`.
SELECT pg_try_advisory_lock(hashtext('ledgerx.catch_up'));

-- name: unlock
-- Lets others look.
SELECT pg_advisory_unlock(hashtext('ledgerx.catch_up'));

-- name: behind
-- The next tenants, how far their journals are, and which projections lack an entry for long.
SELECT tenant_id, seq, behind
FROM ledgerx.projections_behind(%(after)s, %(most)s, %(names)s, %(moment)s)
ORDER BY tenant_id;
