-- name: due_snapshots
-- Tenants with a moment of their schedule that has come.
SELECT tenant_id FROM ledgerx.due_snapshots(%(moment)s, %(most)s);

-- name: lock_schedule
-- A tenant's schedule, to go on with; nothing where somebody else has it.
SELECT s.schedule, s.retention_days, s.boundary, s.seq, s.upto_seq, s.captured_seq, s.pruned_seq, t.time_zone
FROM ledgerx.snapshot_schedules AS s
INNER JOIN ledgerx.tenants AS t ON t.tenant_id = %(tenant_id)s
WHERE s.tenant_id = %(tenant_id)s
FOR NO KEY UPDATE OF s SKIP LOCKED;

-- name: end_of
-- The last entry recorded before a moment, when the one after it is, and how far the balances are.
SELECT last.seq, following.recorded_at, CASE WHEN s.seq IS NULL THEN 0 ELSE s.seq END
FROM ledgerx.last_seq_at(%(tenant_id)s, %(boundary)s::timestamptz - interval '1 microsecond') AS last (seq)
LEFT JOIN LATERAL (
    SELECT recorded_at FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = last.seq + 1 OFFSET 0
) AS following ON true
LEFT JOIN ledgerx.projections AS s ON s.tenant_id = %(tenant_id)s AND s.projection = 'balances';

-- name: page_end
-- The entry up to which there are so many postings after another one.
SELECT max(p.seq) FROM (
    SELECT seq FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s AND seq > %(after)s AND seq <= %(upto)s
    ORDER BY seq, line
    LIMIT %(postings)s
) AS p;

-- name: capture
-- Captures, at an entry, the accounts with postings in a range of entries, those that are not captured there yet.
INSERT INTO ledgerx.snapshot_balances (tenant_id, account_id, seq, posted, pending_debit, pending_credit)
SELECT %(tenant_id)s, changed.account_id, %(upto)s, sums.posted, sums.pending_debit, sums.pending_credit
FROM (
    SELECT DISTINCT account_id FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s AND seq > %(after)s AND seq <= %(end)s
) AS changed
LEFT JOIN LATERAL (
    SELECT seq FROM ledgerx.snapshot_balances
    WHERE tenant_id = %(tenant_id)s AND account_id = changed.account_id AND seq = %(upto)s
    OFFSET 0
) AS captured ON true
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.sums_upto(%(tenant_id)s, changed.account_id, %(upto)s) WHERE captured.seq IS NULL OFFSET 0
) AS sums;

-- name: go_on
-- How far the snapshot under way is.
UPDATE ledgerx.snapshot_schedules SET upto_seq = %(upto)s, captured_seq = %(end)s WHERE tenant_id = %(tenant_id)s;

-- name: insert_snapshot
-- A snapshot that is whole.
INSERT INTO ledgerx.snapshots (tenant_id, seq, taken_at) VALUES (%(tenant_id)s, %(upto)s, %(boundary)s);

-- name: wait_for
-- The moment to come, after a snapshot at an entry or none.
UPDATE ledgerx.snapshot_schedules SET boundary = %(next)s, seq = %(upto)s, captured_seq = %(upto)s, upto_seq = NULL
WHERE tenant_id = %(tenant_id)s;

-- name: outlived
-- The first snapshot taken before a moment that is not pruned yet: it replaces all before it. None while an export reads
-- snapshots.
SELECT seq FROM ledgerx.snapshots
WHERE tenant_id = %(tenant_id)s AND seq > %(pruned)s AND taken_at < %(moment)s
    AND NOT EXISTS (
        SELECT FROM ledgerx.exports
        WHERE tenant_id = %(tenant_id)s AND status = 'running' AND dataset = 'snapshots' AND due_at > now()
    )
ORDER BY seq
LIMIT 1;

-- name: delete_snapshots
-- Snapshots before another one.
DELETE FROM ledgerx.snapshots WHERE tenant_id = %(tenant_id)s AND seq < %(seq)s;

-- name: prune_page
-- Of a page of the accounts in a snapshot, deletes what was captured before; tells the last account of the page.
WITH page AS (
    SELECT account_id FROM ledgerx.snapshot_balances
    WHERE tenant_id = %(tenant_id)s AND seq = %(seq)s AND account_id > %(after)s
    ORDER BY account_id
    LIMIT %(limit)s
), gone AS (
    DELETE FROM ledgerx.snapshot_balances AS b
    USING page
    WHERE b.tenant_id = %(tenant_id)s AND b.account_id = page.account_id AND b.seq < %(seq)s
)
SELECT max(account_id) FROM page;

-- name: pruned
-- Nothing is left of what a snapshot replaces.
UPDATE ledgerx.snapshot_schedules SET pruned_seq = %(seq)s WHERE tenant_id = %(tenant_id)s;
