-- name: insert_audit
-- One act, beside what it did.
INSERT INTO ledgerx.audit_log (tenant_id, audit_id, act, actor, subject, address, details)
VALUES (%(tenant_id)s, %(audit_id)s, %(act)s, %(actor)s, %(subject)s, %(address)s, %(details)s);

-- name: audit_page
-- The newest entries of the log before an entry.
SELECT audit_id, recorded_at, act, actor, subject, address, details FROM ledgerx.audit_log
WHERE tenant_id = %(tenant_id)s AND audit_id < %(before)s
ORDER BY audit_id DESC
LIMIT %(limit)s;
