-- name: drop_day
-- Drops the oldest day of the outbox if it may go, and says which that was.
SELECT ledgerx.drop_outbox_partition(ledgerx.outbox_retention_days(%(keep_days)s), %(slot)s);

-- name: kept_day
-- The oldest day whose time is over, by how many days it is, and what keeps it; no row if there is none.
SELECT
    day,
    overdue_days,
    keeper,
    tenant_id
FROM ledgerx.overdue_outbox_day(ledgerx.outbox_retention_days(%(keep_days)s), %(slot)s)
WHERE day IS NOT NULL;

-- name: thin_checkpoints
-- Drops old checkpoints that were superseded on the day they were signed, and says how many.
SELECT ledgerx.thin_checkpoints(%(keep_days)s, %(most)s);
