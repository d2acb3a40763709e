-- Look-ups stand in LATERAL ... OFFSET 0, and bounds of ranges in CASE instead of coalesce: without statistics the
-- planner would read all the tenant's rows, and under row-level security coalesce counts as leaky and stays a filter.

-- name: entries
-- Entries by their numbers, in rising order.
SELECT
    e.seq, e.recorded_at, e.effective_at, e.kind, e.actor, e.idempotency_key, e.fingerprint, e.reference, e.category,
    e.description, e.metadata, e.annotations_hash, e.change, e.hash, e.target_seq, e.expires_at
FROM ledgerx.entries AS e
WHERE e.tenant_id = %(tenant_id)s AND e.seq = any(%(seqs)b::bigint [])
ORDER BY e.seq;

-- name: amendments
-- The annotations of those of these transactions that were amended by the entry `known`, as the latest amendment left
-- them.
SELECT wanted.seq, a.category, a.description, a.metadata
FROM unnest(%(seqs)b::bigint []) AS wanted (seq)
CROSS JOIN LATERAL ledgerx.latest_amendment(%(tenant_id)s, wanted.seq, %(known)s) AS a;

-- name: links
-- What became of these transactions: at most 100 entries that resolved, reversed or amended each, the oldest first. Of
-- reversals an owner is told those that touch an account of theirs; what resolves a hold touches all that it did.
SELECT l.target_seq, l.seq, l.kind
FROM unnest(%(seqs)b::bigint []) AS wanted (seq)
CROSS JOIN LATERAL (
    SELECT target_seq, seq, kind FROM ledgerx.entries AS e
    LEFT JOIN LATERAL (
        SELECT a.account_id
        FROM (
            SELECT account_id FROM ledgerx.postings WHERE tenant_id = %(tenant_id)s AND seq = e.seq OFFSET 0
        ) AS p
        CROSS JOIN LATERAL (
            SELECT account_id, owner FROM ledgerx.accounts
            WHERE tenant_id = %(tenant_id)s AND account_id = p.account_id
            OFFSET 0
        ) AS a
        WHERE e.kind = 'reverse' AND a.owner = %(owner)s
        LIMIT 1
    ) AS own ON true
    WHERE tenant_id = %(tenant_id)s AND target_seq = wanted.seq
        AND (%(owner)s::text IS NULL OR kind <> 'reverse' OR own.account_id IS NOT NULL)
    ORDER BY seq
    LIMIT 100
) AS l
ORDER BY l.target_seq, l.seq;

-- name: postings
-- The postings of entries by their numbers, in order; those of an owner's accounts where an owner is said.
SELECT p.seq, a.code, p.account_id, a.asset, a.scale, p.amount, p.layer
FROM (
    SELECT * FROM ledgerx.postings WHERE tenant_id = %(tenant_id)s AND seq = any(%(seqs)b::bigint []) OFFSET 0
) AS p
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id = p.account_id AND (%(owner)s::text IS NULL OR owner = %(owner)s)
    OFFSET 0
) AS a
ORDER BY p.seq, p.line;

-- name: sums
-- The sums of accounts by code and the number of the latest transaction of each, 0 for none, right at the journal's
-- head: projection and postings after it, in one statement.
SELECT
    a.account_id, a.code, a.type, a.scale, a.asset, h.seq, h.recorded_at,
    coalesce(b.posted, 0) + tail.posted AS posted,
    coalesce(b.pending_debit, 0) + tail.pending_debit AS pending_debit,
    coalesce(b.pending_credit, 0) + tail.pending_credit AS pending_credit,
    greatest(b.seq, tail.seq, 0) AS version
FROM unnest(%(codes)b::text []) AS wanted (code)
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND code = wanted.code AND (%(owner)s::text IS NULL OR owner = %(owner)s)
    OFFSET 0
) AS a
INNER JOIN ledgerx.heads AS h ON h.tenant_id = %(tenant_id)s
LEFT JOIN ledgerx.projections AS s ON s.tenant_id = %(tenant_id)s AND s.projection = 'balances'
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.balances WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id OFFSET 0
) AS b ON true
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 0), 0) AS posted,
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 1), 0) AS pending_debit,
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 2), 0) AS pending_credit,
        max(p.seq) AS seq
    FROM ledgerx.postings AS p
    WHERE p.tenant_id = %(tenant_id)s AND p.account_id = a.account_id
        AND p.seq > CASE WHEN s.seq IS NULL THEN 0 ELSE s.seq END
) AS tail;

-- name: account
-- One account by its code, an owner's where an owner is said.
SELECT account_id, code, asset, scale, type, status, min_balance, max_balance, seq, owner, metadata, opened_at
FROM ledgerx.accounts
WHERE tenant_id = %(tenant_id)s AND code = %(code)s AND (%(owner)s::text IS NULL OR owner = %(owner)s);

-- name: account_postings_page
-- An account's newest lines before a line, with the sums just after the first of them. The sums are those of the
-- nearest mark at or below that line and of the lines from there on.
WITH page AS (
    SELECT p.seq, p.line, p.layer, p.amount
    FROM ledgerx.postings AS p
    WHERE p.tenant_id = %(tenant_id)s AND p.account_id = %(account_id)s
        AND (p.seq, p.line) < (%(before_seq)s::bigint, %(before_line)s::smallint)
    ORDER BY p.seq DESC, p.line DESC
    LIMIT %(limit)s
), newest AS (
    SELECT seq, line FROM page ORDER BY seq DESC, line DESC LIMIT 1
), start AS (
    SELECT newest.seq AS to_seq, newest.line AS to_line, m.seq, m.line, m.posted, m.pending_debit, m.pending_credit
    FROM newest
    LEFT JOIN LATERAL (
        SELECT * FROM ledgerx.marks
        WHERE tenant_id = %(tenant_id)s AND account_id = %(account_id)s AND (seq, line) <= (newest.seq, newest.line)
        ORDER BY seq DESC, line DESC
        LIMIT 1
    ) AS m ON true
), sums AS (
    SELECT
        coalesce(start.posted, 0) + tail.posted AS posted,
        coalesce(start.pending_debit, 0) + tail.pending_debit AS pending_debit,
        coalesce(start.pending_credit, 0) + tail.pending_credit AS pending_credit
    FROM start
    CROSS JOIN LATERAL (
        SELECT
            coalesce(sum(p.amount) FILTER (WHERE p.layer = 0), 0) AS posted,
            coalesce(sum(p.amount) FILTER (WHERE p.layer = 1), 0) AS pending_debit,
            coalesce(sum(p.amount) FILTER (WHERE p.layer = 2), 0) AS pending_credit
        FROM ledgerx.postings AS p
        WHERE p.tenant_id = %(tenant_id)s AND p.account_id = %(account_id)s
            AND (p.seq, p.line) <= (start.to_seq, start.to_line)
            AND (p.seq, p.line) > (
                CASE WHEN start.seq IS NULL THEN 0 ELSE start.seq END,
                CASE WHEN start.line IS NULL THEN 0::smallint ELSE start.line END
            )
    ) AS tail
)
SELECT
    page.seq, page.line, page.layer, page.amount, e.kind, e.recorded_at, e.effective_at, e.reference,
    CASE WHEN n.seq IS NULL THEN e.category ELSE n.category END,
    CASE WHEN n.seq IS NULL THEN e.description ELSE n.description END,
    sums.posted, sums.pending_debit, sums.pending_credit
FROM page
CROSS JOIN sums
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = page.seq OFFSET 0
) AS e
LEFT JOIN LATERAL ledgerx.latest_amendment(%(tenant_id)s, page.seq) AS n ON true
ORDER BY page.seq DESC, page.line DESC;
