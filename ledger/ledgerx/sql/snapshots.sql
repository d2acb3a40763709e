-- name: account_snapshots
-- The snapshots before a number since an account was opened, newest first, each with the balance in force: that of the
-- latest snapshot up to it that the account changed in.
SELECT a.code, a.asset, a.scale, a.type, s.seq, s.taken_at, b.posted, b.pending_debit, b.pending_credit
FROM ledgerx.accounts AS a
LEFT JOIN LATERAL (
    SELECT seq, taken_at FROM ledgerx.snapshots
    WHERE tenant_id = %(tenant_id)s AND seq < %(before)s AND seq >= a.account_id
    ORDER BY seq DESC
    LIMIT %(limit)s
) AS s ON true
LEFT JOIN LATERAL (
    SELECT posted, pending_debit, pending_credit FROM ledgerx.snapshot_balances
    WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id AND seq <= s.seq
    ORDER BY seq DESC
    LIMIT 1
) AS b ON true
WHERE a.tenant_id = %(tenant_id)s AND a.code = %(code)s AND (%(owner)s::text IS NULL OR a.owner = %(owner)s)
ORDER BY s.seq DESC;

-- name: lock_schedule
-- A tenant's schedule, which nobody else goes by meanwhile.
SELECT s.schedule, s.retention_days, s.boundary, s.upto_seq, t.time_zone, now()
FROM ledgerx.snapshot_schedules AS s
INNER JOIN ledgerx.tenants AS t ON t.tenant_id = %(tenant_id)s
WHERE s.tenant_id = %(tenant_id)s
FOR NO KEY UPDATE OF s;

-- name: set_schedule
-- Another schedule.
UPDATE ledgerx.snapshot_schedules
SET schedule = %(schedule)s, retention_days = %(retention_days)s, boundary = %(boundary)s
WHERE tenant_id = %(tenant_id)s;

-- name: last_snapshot
-- The entry of the last snapshot; 0 where there is none.
SELECT coalesce(max(seq), 0) FROM ledgerx.snapshots WHERE tenant_id = %(tenant_id)s;

-- name: captured_after
-- The first entry after one that a snapshot is at, or that balances were captured at.
SELECT least(
    (SELECT min(seq) FROM ledgerx.snapshots WHERE tenant_id = %(tenant_id)s AND seq > %(after)s),
    (SELECT min(seq) FROM ledgerx.snapshot_balances WHERE tenant_id = %(tenant_id)s AND seq > %(after)s)
);

-- name: taken_at
-- The moment of the snapshot at an entry.
SELECT taken_at FROM ledgerx.snapshots WHERE tenant_id = %(tenant_id)s AND seq = %(seq)s;

-- name: captured_at
-- What was captured at an entry, of the accounts after one.
SELECT account_id, posted, pending_debit, pending_credit
FROM ledgerx.snapshot_balances
WHERE tenant_id = %(tenant_id)s AND seq = %(seq)s AND account_id > %(after)s
ORDER BY account_id
LIMIT %(limit)s;
