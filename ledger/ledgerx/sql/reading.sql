-- name: entries
-- Entries by their numbers, in rising order.
SELECT
    e.seq, e.recorded_at, e.effective_at, e.kind, e.actor, e.idempotency_key, e.fingerprint, e.reference, e.category,
    e.description, e.metadata, e.annotations_hash, e.change, e.hash
FROM unnest(%(seqs)b::bigint []) AS wanted (seq)
INNER JOIN ledgerx.entries AS e ON e.tenant_id = %(tenant_id)s AND e.seq = wanted.seq
ORDER BY e.seq;

-- name: postings
-- The postings of entries by their numbers, in order.
SELECT p.seq, a.code, p.account_id, a.asset, a.scale, p.amount, p.layer
FROM unnest(%(seqs)b::bigint []) AS wanted (seq)
INNER JOIN ledgerx.postings AS p ON p.tenant_id = %(tenant_id)s AND p.seq = wanted.seq
INNER JOIN ledgerx.accounts AS a ON a.tenant_id = p.tenant_id AND a.account_id = p.account_id
ORDER BY p.seq, p.line;

-- name: sums
-- The sums of accounts by code, right at the journal's head: projection and postings after it, in one statement.
SELECT
    a.account_id, a.code, a.type, a.scale, a.asset, h.seq, h.recorded_at,
    coalesce(b.posted, 0) + tail.posted AS posted,
    coalesce(b.pending_debit, 0) + tail.pending_debit AS pending_debit,
    coalesce(b.pending_credit, 0) + tail.pending_credit AS pending_credit
FROM unnest(%(codes)b::text []) AS wanted (code)
INNER JOIN ledgerx.accounts AS a ON a.tenant_id = %(tenant_id)s AND a.code = wanted.code
INNER JOIN ledgerx.heads AS h ON h.tenant_id = a.tenant_id
LEFT JOIN ledgerx.projections AS s ON s.tenant_id = a.tenant_id AND s.projection = 'balances'
LEFT JOIN ledgerx.balances AS b ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 0), 0) AS posted,
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 1), 0) AS pending_debit,
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 2), 0) AS pending_credit
    FROM ledgerx.postings AS p
    WHERE p.tenant_id = a.tenant_id AND p.account_id = a.account_id AND p.seq > coalesce(s.seq, 0)
) AS tail;

-- name: account
-- One account by its code.
SELECT account_id, code, asset, scale, type, status, min_balance, max_balance, metadata, opened_at, seq
FROM ledgerx.accounts
WHERE tenant_id = %(tenant_id)s AND code = %(code)s;

-- name: accounts_page
-- Accounts in the order of their codes, after a code.
SELECT account_id, code, asset, scale, type, status, min_balance, max_balance, metadata, opened_at, seq
FROM ledgerx.accounts
WHERE tenant_id = %(tenant_id)s AND code > %(after)s
ORDER BY code
LIMIT %(limit)s;

-- name: transactions_page
-- The numbers of the newest transactions before a number.
SELECT seq FROM ledgerx.entries
WHERE tenant_id = %(tenant_id)s AND kind = 'post' AND seq < %(before)s
ORDER BY seq DESC
LIMIT %(limit)s;

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
), mark AS (
    SELECT m.seq, m.line, m.posted, m.pending_debit, m.pending_credit
    FROM newest
    INNER JOIN ledgerx.marks AS m
        ON m.tenant_id = %(tenant_id)s AND m.account_id = %(account_id)s
        AND (m.seq, m.line) <= (newest.seq, newest.line)
    ORDER BY m.seq DESC, m.line DESC
    LIMIT 1
), sums AS (
    SELECT
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 0), 0) + coalesce((SELECT posted FROM mark), 0) AS posted,
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 1), 0) + coalesce((SELECT pending_debit FROM mark), 0)
            AS pending_debit,
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 2), 0) + coalesce((SELECT pending_credit FROM mark), 0)
            AS pending_credit
    FROM newest
    LEFT JOIN ledgerx.postings AS p
        ON p.tenant_id = %(tenant_id)s AND p.account_id = %(account_id)s
        AND (p.seq, p.line) <= (newest.seq, newest.line)
        AND (p.seq, p.line) > (coalesce((SELECT seq FROM mark), 0), coalesce((SELECT line FROM mark), 0::smallint))
)
SELECT
    page.seq, page.layer, page.amount, page.line, e.kind, e.recorded_at, e.effective_at, e.reference, e.category,
    e.description, sums.posted, sums.pending_debit, sums.pending_credit
FROM page
CROSS JOIN sums
INNER JOIN ledgerx.entries AS e ON e.tenant_id = %(tenant_id)s AND e.seq = page.seq
ORDER BY page.seq DESC, page.line DESC;
