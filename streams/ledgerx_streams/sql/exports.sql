-- How exports are worked off, and what they read. Whoever writes an export holds a lease of it: each statement that
-- changes one asks whether it is still that worker's, and that attempt.

-- name: due_exports
-- The exports that somebody has to look at, of all tenants.
SELECT tenant_id, export_id, status FROM ledgerx.due_exports(%(most)s);

-- name: claim
-- Takes an export that waits, or one whose worker has fallen silent.
UPDATE ledgerx.exports
SET
    status = 'running', worker = %(worker)s, attempt = attempt + 1, due_at = now() + %(lease_s)s * interval '1 second',
    started_at = CASE WHEN started_at IS NULL THEN now() ELSE started_at END,
    progress = 0, rows = 0, bytes = 0, keeps_file = true
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND status IN ('queued', 'running') AND due_at <= now()
RETURNING format, dataset, filters, destination, seq, recorded_at, attempt, traceparent;

-- name: beat
-- Renews a lease and says how far the export is; no row where the lease is somebody else's, or the export cancelled.
UPDATE ledgerx.exports
SET due_at = now() + %(lease_s)s * interval '1 second', progress = %(progress)s, rows = %(rows)s, bytes = %(bytes)s
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND worker = %(worker)s AND attempt = %(attempt)s
RETURNING export_id;

-- name: finish
-- The export has its file. One that was delivered is the platform's no more: it is only shown for some days.
UPDATE ledgerx.exports
SET
    status = 'done', worker = NULL, finished_at = now(), keeps_file = destination IS NULL,
    due_at = now() + CASE WHEN destination IS NULL THEN %(keep_days)s ELSE %(show_days)s END * interval '1 day',
    progress = 1, rows = %(rows)s, bytes = %(bytes)s, sha256 = %(sha256)s, path = %(path)s
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND worker = %(worker)s AND attempt = %(attempt)s
RETURNING export_id;

-- name: give_back
-- Lets the export be tried again after a pause; `attempt_after` is how often it was tried then.
UPDATE ledgerx.exports
SET
    status = 'queued', worker = NULL, due_at = now() + %(pause_s)s * interval '1 second', attempt = %(attempt_after)s
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND worker = %(worker)s AND attempt = %(attempt)s;

-- name: fail
-- The export will have no file.
UPDATE ledgerx.exports
SET
    status = 'failed', worker = NULL, finished_at = now(), due_at = now(), error_code = %(error_code)s,
    error_detail = %(error_detail)s
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND worker = %(worker)s AND attempt = %(attempt)s;

-- name: expire
-- Lets a done export end that is past its time.
UPDATE ledgerx.exports SET status = 'expired', due_at = now()
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND status = 'done' AND due_at <= now();

-- name: leftover
-- Whether an export that has ended, and is due, may have left files, and at which destination.
SELECT keeps_file, destination FROM ledgerx.exports
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND status NOT IN ('queued', 'running', 'done')
    AND due_at <= now();

-- name: tidied
-- An export that has ended has no file any more; it is shown for some days.
UPDATE ledgerx.exports SET keeps_file = false, due_at = now() + %(show_days)s * interval '1 day'
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND status NOT IN ('queued', 'running', 'done');

-- name: forget
-- Forgets an export that has ended and left nothing.
DELETE FROM ledgerx.exports
WHERE tenant_id = %(tenant_id)s AND export_id = %(export_id)s AND status NOT IN ('queued', 'running', 'done')
    AND NOT keeps_file AND due_at <= now();

-- name: sizes
-- Those of these entries that are transactions, rising, and how many lines each has.
SELECT wanted.seq, p.line + 1
FROM unnest(%(seqs)b::bigint []) AS wanted (seq)
CROSS JOIN LATERAL (
    SELECT line FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s AND seq = wanted.seq
    ORDER BY line DESC
    LIMIT 1
) AS p
ORDER BY wanted.seq;

-- name: days
-- The days of effect of entries in the tenant's time zone, within what a calendar of four digits has.
SELECT
    e.seq,
    to_char(
        greatest(
            least(
                (CASE WHEN e.effective_at IS NULL THEN e.recorded_at ELSE e.effective_at END) AT TIME ZONE t.time_zone,
                '9999-12-30'::timestamp
            ),
            '0001-01-01'::timestamp
        ),
        'YYYY-MM-DD'
    )
FROM ledgerx.tenants AS t
CROSS JOIN unnest(%(seqs)b::bigint []) AS wanted (seq)
CROSS JOIN LATERAL (
    SELECT seq, recorded_at, effective_at FROM ledgerx.entries
    WHERE tenant_id = %(tenant_id)s AND seq = wanted.seq
    OFFSET 0
) AS e
WHERE t.tenant_id = %(tenant_id)s;

-- name: accounts
-- Accounts opened after one and up to an entry, in the order of opening, and the day of each one's opening, or of its
-- first line where that is earlier.
SELECT
    a.account_id, a.code, a.asset, a.scale, a.type,
    to_char(
        greatest(
            least(a.opened_at, d.effective_at) AT TIME ZONE t.time_zone,
            '0001-01-01'::timestamp
        ),
        'YYYY-MM-DD'
    )
FROM ledgerx.tenants AS t
CROSS JOIN LATERAL (
    SELECT account_id, code, asset, scale, type, opened_at FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id > %(after)s AND account_id <= %(upto)s
    ORDER BY account_id
    LIMIT %(limit)s
) AS a
LEFT JOIN LATERAL (
    SELECT effective_at FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id AND effective_at < 'infinity'
    ORDER BY effective_at, seq, line
    LIMIT 1
) AS d ON true
WHERE t.tenant_id = %(tenant_id)s
ORDER BY a.account_id;

-- name: sums
-- The sums of accounts, in the order given, as known at an entry and in effect at a moment if one is given.
SELECT s.posted, s.pending_debit, s.pending_credit
FROM unnest(%(account_ids)b::bigint []) WITH ORDINALITY AS wanted (account_id, place)
CROSS JOIN LATERAL ledgerx.sums_at(
    %(tenant_id)s, wanted.account_id, %(effective_at)s::timestamptz, %(upto)s
) AS s
ORDER BY wanted.place;

-- name: accounts_in_all
-- How many accounts there are by now.
SELECT accounts FROM ledgerx.heads WHERE tenant_id = %(tenant_id)s;

-- name: types
-- The types of accounts by their ids.
SELECT a.account_id, a.type
FROM unnest(%(account_ids)s::bigint []) AS wanted (account_id)
CROSS JOIN LATERAL (
    SELECT account_id, type FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id = wanted.account_id
    OFFSET 0
) AS a;

-- name: await_pruning
-- Waits for whoever drops a tenant's snapshots at this moment; whoever comes next sees that an export of them runs.
SELECT seq FROM ledgerx.snapshot_schedules WHERE tenant_id = %(tenant_id)s FOR SHARE;

-- name: snapshots_between
-- How many snapshots there are up to an entry, of moments in a range, and the entries of the first and last of them.
SELECT count(*), coalesce(min(seq), 0), coalesce(max(seq), 0)
FROM ledgerx.snapshots
WHERE tenant_id = %(tenant_id)s AND seq <= %(upto)s
    AND taken_at >= coalesce(%(taken_from)s::timestamptz, '-infinity')
    AND taken_at < coalesce(%(taken_to)s::timestamptz, 'infinity')
    AND taken_at <= coalesce(%(as_of)s::timestamptz, 'infinity');

-- name: captured
-- Balances of accounts, in the order given, in the next snapshots after one: those of the latest snapshot up to it that
-- the account changed in. A snapshot from before all of these accounts has a row without any.
WITH taken AS (
    SELECT seq, taken_at FROM ledgerx.snapshots
    WHERE tenant_id = %(tenant_id)s AND seq > %(after)s AND seq <= %(last)s
    ORDER BY seq
    LIMIT %(limit)s
)
SELECT wanted.place, t.seq, t.taken_at, b.posted, b.pending_debit, b.pending_credit
FROM taken AS t
LEFT JOIN
    unnest(%(account_ids)b::bigint []) WITH ORDINALITY AS wanted (account_id, place) ON wanted.account_id <= t.seq
LEFT JOIN LATERAL (
    SELECT posted, pending_debit, pending_credit FROM ledgerx.snapshot_balances
    WHERE tenant_id = %(tenant_id)s AND account_id = wanted.account_id AND seq <= t.seq
    ORDER BY seq DESC
    LIMIT 1
) AS b ON true
ORDER BY wanted.place, t.seq;
