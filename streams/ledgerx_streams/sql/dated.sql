-- name: add_to_tails
-- Adds to the numbers of dated postings of accounts; returns what they were before.
INSERT INTO ledgerx.dated_tails AS t (tenant_id, account_id, postings)
SELECT %(tenant_id)s, change.* FROM unnest(%(account_id)b::bigint [], %(postings)b::bigint []) AS change
ON CONFLICT ON CONSTRAINT dated_tails_pkey DO UPDATE SET postings = t.postings + excluded.postings
RETURNING new.account_id, coalesce(old.postings, 0);

-- name: insert_marks
-- The marks that a batch passed.
INSERT INTO ledgerx.dated_marks (tenant_id, account_id, seq, line, postings)
SELECT %(tenant_id)s, mark.*
FROM unnest(
    %(account_id)b::bigint [], %(seq)b::bigint [], %(line)b::smallint [], %(postings)b::bigint []
) AS mark;

-- name: add_to_blocks
-- Adds dated postings, those of one account all of one mark, to the blocks that they fall into; an account's first
-- block begins with time. A block that had postings of an earlier mark leaves a version. Tells their size.
WITH changed AS (
    INSERT INTO ledgerx.dated_blocks AS b (
        tenant_id, account_id, effective_at, seq, line, mark, postings, first_seq, posted, pending_debit, pending_credit
    )
    SELECT
        %(tenant_id)s, added.account_id,
        CASE WHEN found.seq IS NULL THEN '0001-01-01T00:00:00Z'::timestamptz ELSE found.effective_at END,
        CASE WHEN found.seq IS NULL THEN 0 ELSE found.seq END,
        CASE WHEN found.seq IS NULL THEN 0::smallint ELSE found.line END,
        max(added.mark), count(*), min(added.seq),
        coalesce(sum(added.amount) FILTER (WHERE added.layer = 0), 0),
        coalesce(sum(added.amount) FILTER (WHERE added.layer = 1), 0),
        coalesce(sum(added.amount) FILTER (WHERE added.layer = 2), 0)
    FROM unnest(
        %(account_id)b::bigint [], %(effective_at)b::timestamptz [], %(seq)b::bigint [], %(line)b::smallint [],
        %(mark)b::bigint [], %(layer)b::smallint [], %(amount)b::numeric []
    ) AS added (account_id, effective_at, seq, line, mark, layer, amount)
    LEFT JOIN LATERAL (
        SELECT effective_at, seq, line
        FROM ledgerx.dated_blocks
        WHERE tenant_id = %(tenant_id)s AND account_id = added.account_id
            AND (effective_at, seq, line) <= (added.effective_at, added.seq, added.line)
        ORDER BY effective_at DESC, seq DESC, line DESC
        LIMIT 1
    ) AS found ON true
    GROUP BY added.account_id, found.effective_at, found.seq, found.line
    ON CONFLICT ON CONSTRAINT dated_blocks_pkey DO UPDATE
    SET mark = excluded.mark, postings = b.postings + excluded.postings, posted = b.posted + excluded.posted,
        pending_debit = b.pending_debit + excluded.pending_debit,
        pending_credit = b.pending_credit + excluded.pending_credit
    RETURNING
        new.account_id, new.effective_at, new.seq, new.line, new.postings, new.mark, old.mark AS mark_before,
        old.posted, old.pending_debit, old.pending_credit
), versions AS (
    INSERT INTO ledgerx.dated_versions (
        tenant_id, account_id, effective_at, seq, line, mark, posted, pending_debit, pending_credit
    )
    SELECT
        %(tenant_id)s, account_id, effective_at, seq, line, mark_before, posted, pending_debit, pending_credit
    FROM changed
    WHERE mark_before < mark
)
SELECT account_id, effective_at, seq, line, postings FROM changed;

-- name: split_block
-- Cuts a block into blocks of `postings`, with the versions of each; the first of them keeps its key. Reads no further
-- than the projection stands.
WITH ending AS (
    SELECT next.effective_at, next.seq, next.line
    FROM ledgerx.dated_blocks AS b
    LEFT JOIN LATERAL (
        SELECT effective_at, seq, line
        FROM ledgerx.dated_blocks
        WHERE tenant_id = %(tenant_id)s AND account_id = %(account_id)s
            AND (effective_at, seq, line) > (b.effective_at, b.seq, b.line)
        ORDER BY effective_at, seq, line
        LIMIT 1
    ) AS next ON true
    WHERE b.tenant_id = %(tenant_id)s AND b.account_id = %(account_id)s AND b.effective_at = %(effective_at)s
        AND b.seq = %(seq)s AND b.line = %(line)s
), lines AS (
    SELECT
        p.*, CASE WHEN m.postings IS NULL THEN 0 ELSE m.postings END AS mark,
        (row_number() OVER (ORDER BY p.effective_at, p.seq, p.line) - 1) / %(postings)s AS number
    FROM ending
    CROSS JOIN LATERAL (
        SELECT effective_at, seq, line, layer, amount
        FROM ledgerx.postings
        WHERE tenant_id = %(tenant_id)s AND account_id = %(account_id)s AND effective_at < 'infinity'
            AND (effective_at, seq, line) >= (%(effective_at)s::timestamptz, %(seq)s::bigint, %(line)s::smallint)
            AND (effective_at, seq, line) < (
                CASE WHEN ending.seq IS NULL THEN 'infinity'::timestamptz ELSE ending.effective_at END,
                CASE WHEN ending.seq IS NULL THEN 0 ELSE ending.seq END,
                CASE WHEN ending.seq IS NULL THEN 0::smallint ELSE ending.line END
            )
            AND seq <= %(head_seq)s
        OFFSET 0
    ) AS p
    LEFT JOIN LATERAL (
        SELECT postings FROM ledgerx.dated_marks
        WHERE tenant_id = %(tenant_id)s AND account_id = %(account_id)s AND (seq, line) < (p.seq, p.line)
        ORDER BY seq DESC, line DESC
        LIMIT 1
    ) AS m ON true
), keys AS (
    SELECT
        number,
        CASE WHEN number = 0 THEN %(effective_at)s::timestamptz ELSE effective_at END AS effective_at,
        CASE WHEN number = 0 THEN %(seq)s::bigint ELSE seq END AS seq,
        CASE WHEN number = 0 THEN %(line)s::smallint ELSE line END AS line
    FROM (
        SELECT DISTINCT ON (number) number, effective_at, seq, line
        FROM lines
        ORDER BY number, effective_at, seq, line
    ) AS first_lines
), by_mark AS (
    SELECT
        number, mark, count(*) AS postings, min(seq) AS first_seq,
        coalesce(sum(amount) FILTER (WHERE layer = 0), 0) AS posted,
        coalesce(sum(amount) FILTER (WHERE layer = 1), 0) AS pending_debit,
        coalesce(sum(amount) FILTER (WHERE layer = 2), 0) AS pending_credit
    FROM lines
    GROUP BY number, mark
), running AS (
    SELECT
        number, mark, sum(postings) OVER upto AS postings, min(first_seq) OVER upto AS first_seq,
        sum(posted) OVER upto AS posted, sum(pending_debit) OVER upto AS pending_debit,
        sum(pending_credit) OVER upto AS pending_credit,
        lead(mark) OVER (PARTITION BY number ORDER BY mark) AS next_mark
    FROM by_mark
    WINDOW upto AS (PARTITION BY number ORDER BY mark)
), versions AS (
    INSERT INTO ledgerx.dated_versions (
        tenant_id, account_id, effective_at, seq, line, mark, posted, pending_debit, pending_credit
    )
    SELECT
        %(tenant_id)s, %(account_id)s, k.effective_at, k.seq, k.line, r.mark, r.posted, r.pending_debit,
        r.pending_credit
    FROM running AS r
    INNER JOIN keys AS k ON k.number = r.number
    WHERE r.next_mark IS NOT NULL
)
INSERT INTO ledgerx.dated_blocks AS b (
    tenant_id, account_id, effective_at, seq, line, mark, postings, first_seq, posted, pending_debit, pending_credit
)
SELECT
    %(tenant_id)s, %(account_id)s, k.effective_at, k.seq, k.line, r.mark, r.postings, r.first_seq, r.posted,
    r.pending_debit, r.pending_credit
FROM running AS r
INNER JOIN keys AS k ON k.number = r.number
WHERE r.next_mark IS NULL
ON CONFLICT ON CONSTRAINT dated_blocks_pkey DO UPDATE
SET mark = excluded.mark, postings = excluded.postings, first_seq = excluded.first_seq, posted = excluded.posted,
    pending_debit = excluded.pending_debit, pending_credit = excluded.pending_credit;

-- name: forget_versions
-- Deletes the versions of a block: those of the blocks that it is about to be cut into take their place.
DELETE FROM ledgerx.dated_versions
WHERE tenant_id = %(tenant_id)s AND account_id = %(account_id)s AND effective_at = %(effective_at)s AND seq = %(seq)s
    AND line = %(line)s;
