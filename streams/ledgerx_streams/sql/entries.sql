-- name: wake
-- Tells a tenant's webhooks how far its entries are. Always writes: news that meet the end of a turn wait for it.
UPDATE ledgerx.webhook_endpoints SET known_seq = greatest(known_seq, %(seq)s), due_at = coalesce(due_at, now())
WHERE tenant_id = %(tenant_id)s AND status = 'enabled';
