-- What is kept beside the journal against the journal itself, page by page. Each statement sees the rows kept, the head
-- that they stand at and the postings up to it as of one moment, and is done in a fraction of a second.

-- name: accounts_to_compare
-- The next accounts, each with the number of its postings that the projection knows.
SELECT a.account_id, CASE WHEN b.postings IS NULL THEN 0 ELSE b.postings END
FROM (
    SELECT account_id FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id > %(after)s
    ORDER BY account_id
    LIMIT 1000
) AS a
LEFT JOIN LATERAL (
    SELECT postings FROM ledgerx.balances WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id OFFSET 0
) AS b ON true
ORDER BY a.account_id;

-- name: days_to_compare
-- The next volumes of one account, each with the number of its postings.
SELECT day, greatest(postings, 0) FROM ledgerx.daily_volumes
WHERE tenant_id = %(tenant_id)s AND account_id = %(account_id)s AND day >= %(since)s
ORDER BY day, category
LIMIT 1000;

-- name: wrong_volumes
-- The volumes of accounts in a range and of days in a range that are not the sum of their postings, at most ten. Local
-- days need not follow one another as moments do, so that postings of the days around are looked at.
WITH head AS (
    SELECT
        s.seq, t.time_zone,
        CASE
            WHEN %(since)s::date IS NULL THEN '-infinity'::timestamptz
            ELSE (%(since)s::date - 1)::timestamp AT TIME ZONE t.time_zone
        END AS earliest,
        CASE
            WHEN %(until)s::date IS NULL THEN 'infinity'::timestamptz
            ELSE (%(until)s::date + 1)::timestamp AT TIME ZONE t.time_zone
        END AS latest
    FROM ledgerx.projections AS s
    INNER JOIN ledgerx.tenants AS t ON t.tenant_id = %(tenant_id)s
    WHERE s.tenant_id = %(tenant_id)s AND s.projection = 'volumes'
), bounds AS (
    SELECT
        ledgerx.last_seq_at(%(tenant_id)s, earliest - interval '1 microsecond') AS before_first,
        least(seq, ledgerx.last_seq_at(%(tenant_id)s, latest)) AS last
    FROM head
), lines AS (
    SELECT p.*
    FROM head
    CROSS JOIN bounds
    CROSS JOIN LATERAL (
        SELECT account_id FROM ledgerx.accounts
        WHERE tenant_id = %(tenant_id)s AND account_id > %(after)s AND account_id <= %(last)s
        OFFSET 0
    ) AS a
    CROSS JOIN LATERAL (
        SELECT account_id, seq, amount FROM ledgerx.postings
        WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id AND seq > bounds.before_first
            AND seq <= bounds.last AND layer = 0 AND effective_at IS NULL
        UNION ALL
        SELECT d.account_id, d.seq, d.amount
        FROM (
            SELECT account_id, seq, amount FROM ledgerx.postings
            WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id AND effective_at < 'infinity' AND layer = 0
                AND (effective_at, seq, line) >= (head.earliest, 0::bigint, 0::smallint)
                AND (effective_at, seq, line) < (head.latest, 0::bigint, 0::smallint)
            -- Without this the planner would rather read all postings up to the head.
            OFFSET 0
        ) AS d
        WHERE d.seq <= head.seq
    ) AS p
), expected AS (
    SELECT
        p.account_id, e.day,
        coalesce(CASE WHEN n.seq IS NULL THEN e.category ELSE n.category END, '') COLLATE "C" AS present,
        sum(greatest(p.amount, 0)) AS debits, sum(greatest(-p.amount, 0)) AS credits, count(*) AS postings
    FROM head
    CROSS JOIN lines AS p
    CROSS JOIN LATERAL (
        SELECT
            category,
            (CASE WHEN effective_at IS NULL THEN recorded_at ELSE effective_at END AT TIME ZONE head.time_zone)::date
                AS day
        FROM ledgerx.entries
        WHERE tenant_id = %(tenant_id)s AND seq = p.seq
        OFFSET 0
    ) AS e
    LEFT JOIN LATERAL ledgerx.latest_amendment(%(tenant_id)s, p.seq, head.seq) AS n ON true
    WHERE (%(since)s::date IS NULL OR e.day >= %(since)s) AND (%(until)s::date IS NULL OR e.day < %(until)s)
    GROUP BY p.account_id, e.day, present
), kept AS (
    SELECT v.account_id, v.day, v.category, v.debits, v.credits, v.postings
    FROM head
    CROSS JOIN LATERAL (
        SELECT * FROM ledgerx.daily_volumes
        WHERE tenant_id = %(tenant_id)s AND account_id > %(after)s AND account_id <= %(last)s
            AND (%(since)s::date IS NULL OR day >= %(since)s) AND (%(until)s::date IS NULL OR day < %(until)s)
        OFFSET 0
    ) AS v
    -- What moved to another category leaves nothing.
    WHERE (v.debits, v.credits, v.postings) <> (0, 0, 0)
)
SELECT
    coalesce(expected.account_id, kept.account_id) AS account_id, coalesce(expected.day, kept.day) AS day,
    coalesce(expected.present, kept.category) AS category
FROM expected
FULL JOIN kept
    ON kept.account_id = expected.account_id AND kept.day = expected.day AND kept.category = expected.present
WHERE (expected.debits, expected.credits, expected.postings) IS DISTINCT FROM (kept.debits, kept.credits, kept.postings)
ORDER BY account_id, day, category
LIMIT 10;

-- name: wrong_blocks
-- The next blocks of dated postings after a key, as many as have some 5,000 postings, and of these the ones of which
-- the numbers, the sums or a version are not those of their postings; each row begins with the last key looked at.
WITH found AS (
    SELECT account_id, effective_at, seq, line, postings
    FROM ledgerx.dated_blocks
    WHERE tenant_id = %(tenant_id)s
        AND (account_id, effective_at, seq, line)
            > (%(account_id)s::bigint, %(effective_at)s::timestamptz, %(seq)s::bigint, %(line)s::smallint)
    ORDER BY account_id, effective_at, seq, line
    LIMIT 500
), counted AS (
    SELECT
        found.*, sum(postings) OVER (ORDER BY account_id, effective_at, seq, line) - postings AS before
    FROM found
), page AS (
    SELECT
        c.account_id, c.effective_at, c.seq, c.line,
        CASE WHEN n.seq IS NULL THEN 'infinity'::timestamptz ELSE n.effective_at END AS next_effective_at,
        CASE WHEN n.seq IS NULL THEN 0 ELSE n.seq END AS next_seq,
        CASE WHEN n.seq IS NULL THEN 0::smallint ELSE n.line END AS next_line
    FROM counted AS c
    LEFT JOIN LATERAL (
        SELECT effective_at, seq, line FROM ledgerx.dated_blocks
        WHERE tenant_id = %(tenant_id)s AND account_id = c.account_id
            AND (effective_at, seq, line) > (c.effective_at, c.seq, c.line)
        ORDER BY effective_at, seq, line
        LIMIT 1
    ) AS n ON true
    WHERE c.before < 5000
), by_mark AS (
    SELECT
        b.account_id, b.effective_at, b.seq, b.line, p.mark, count(*) AS postings, min(p.seq) AS first_seq,
        sum(p.amount) FILTER (WHERE p.layer = 0) AS posted, sum(p.amount) FILTER (WHERE p.layer = 1) AS pending_debit,
        sum(p.amount) FILTER (WHERE p.layer = 2) AS pending_credit
    FROM page AS b
    INNER JOIN ledgerx.projections AS s ON s.tenant_id = %(tenant_id)s AND s.projection = 'volumes'
    CROSS JOIN LATERAL (
        SELECT o.seq, o.layer, o.amount, CASE WHEN m.postings IS NULL THEN 0 ELSE m.postings END AS mark
        FROM ledgerx.postings AS o
        LEFT JOIN LATERAL (
            SELECT postings FROM ledgerx.dated_marks
            WHERE tenant_id = %(tenant_id)s AND account_id = b.account_id AND (seq, line) < (o.seq, o.line)
            ORDER BY seq DESC, line DESC
            LIMIT 1
        ) AS m ON true
        WHERE o.tenant_id = %(tenant_id)s AND o.account_id = b.account_id AND o.effective_at < 'infinity'
            AND (o.effective_at, o.seq, o.line) >= (b.effective_at, b.seq, b.line)
            AND (o.effective_at, o.seq, o.line) < (b.next_effective_at, b.next_seq, b.next_line) AND o.seq <= s.seq
    ) AS p
    GROUP BY b.account_id, b.effective_at, b.seq, b.line, p.mark
), expected AS (
    SELECT
        account_id, effective_at, seq, line, mark,
        -- The last of a block is the block as it is, the others are its versions.
        lead(mark) OVER (PARTITION BY account_id, effective_at, seq, line ORDER BY mark) IS NULL AS is_block,
        sum(postings) OVER upto AS postings, min(first_seq) OVER upto AS first_seq,
        coalesce(sum(posted) OVER upto, 0) AS posted, coalesce(sum(pending_debit) OVER upto, 0) AS pending_debit,
        coalesce(sum(pending_credit) OVER upto, 0) AS pending_credit
    FROM by_mark
    WINDOW upto AS (PARTITION BY account_id, effective_at, seq, line ORDER BY mark)
), kept AS (
    SELECT
        k.account_id, k.effective_at, k.seq, k.line, k.mark, true AS is_block, k.postings, k.first_seq, k.posted,
        k.pending_debit, k.pending_credit
    FROM page AS b
    INNER JOIN ledgerx.dated_blocks AS k
        ON k.tenant_id = %(tenant_id)s AND k.account_id = b.account_id AND k.effective_at = b.effective_at
            AND k.seq = b.seq AND k.line = b.line
    UNION ALL
    SELECT
        k.account_id, k.effective_at, k.seq, k.line, k.mark, false, NULL, NULL, k.posted, k.pending_debit,
        k.pending_credit
    FROM page AS b
    INNER JOIN ledgerx.dated_versions AS k
        ON k.tenant_id = %(tenant_id)s AND k.account_id = b.account_id AND k.effective_at = b.effective_at
            AND k.seq = b.seq AND k.line = b.line
), wrong AS (
    SELECT DISTINCT
        coalesce(e.account_id, k.account_id) AS account_id, coalesce(e.effective_at, k.effective_at) AS effective_at
    FROM expected AS e
    FULL JOIN kept AS k
        ON k.account_id = e.account_id AND k.effective_at = e.effective_at AND k.seq = e.seq AND k.line = e.line
            AND k.mark = e.mark AND k.is_block = e.is_block
    WHERE (e.posted, e.pending_debit, e.pending_credit) IS DISTINCT FROM (k.posted, k.pending_debit, k.pending_credit)
        OR coalesce(e.is_block, k.is_block) AND (e.postings, e.first_seq) IS DISTINCT FROM (k.postings, k.first_seq)
)
SELECT edge.account_id, edge.effective_at, edge.seq, edge.line, wrong.account_id, wrong.effective_at
FROM (
    SELECT account_id, effective_at, seq, line FROM page
    ORDER BY account_id DESC, effective_at DESC, seq DESC, line DESC
    LIMIT 1
) AS edge
LEFT JOIN wrong ON true
ORDER BY wrong.account_id, wrong.effective_at;

-- name: missing_terms
-- Those of these search terms that are not kept.
SELECT wanted.subject, wanted.key, wanted.value, wanted.seq
FROM unnest(%(subject)b::text [], %(key)b::text [], %(value)b::text [], %(seq)b::bigint [])
    AS wanted (subject, key, value, seq)
LEFT JOIN LATERAL (
    SELECT true AS kept FROM ledgerx.search_terms
    WHERE tenant_id = %(tenant_id)s AND subject = wanted.subject AND key = wanted.key AND value = wanted.value
        AND seq = wanted.seq
    OFFSET 0
) AS found ON true
WHERE found.kept IS NULL;

-- name: terms_after
-- The next search terms after one; each of an account with the entry that changed the account last, null of none.
SELECT t.subject, t.key, t.value, t.seq, a.seq
FROM (
    SELECT subject, key, value, seq FROM ledgerx.search_terms
    WHERE tenant_id = %(tenant_id)s
        AND (subject, key, value, seq) > (%(subject)s, %(key)s, %(value)s, %(seq)s::bigint)
    ORDER BY subject, key, value, seq
    LIMIT 1000
) AS t
LEFT JOIN LATERAL (
    SELECT seq FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id = t.seq AND t.subject = 'account'
    OFFSET 0
) AS a ON true
ORDER BY t.subject, t.key, t.value, t.seq;

-- name: annotations_of
-- The numbers of transactions and of the amendments of them, with the categories and metadata that each gave.
SELECT e.seq, e.target_seq, e.category, e.metadata
FROM unnest(%(seqs)b::bigint []) AS wanted (seq)
CROSS JOIN LATERAL (
    SELECT seq, NULL::bigint AS target_seq, category, metadata FROM ledgerx.entries
    WHERE tenant_id = %(tenant_id)s AND seq = wanted.seq AND change IS NULL AND kind <> 'amend'
    UNION ALL
    SELECT seq, target_seq, category, metadata FROM ledgerx.entries
    WHERE tenant_id = %(tenant_id)s AND target_seq = wanted.seq AND kind = 'amend'
) AS e;
