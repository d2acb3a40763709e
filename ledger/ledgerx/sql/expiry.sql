-- name: due_holds
-- Holds past their time, of any tenant, the oldest first.
SELECT tenant_id, seq FROM ledgerx.due_holds(%(most)s);
