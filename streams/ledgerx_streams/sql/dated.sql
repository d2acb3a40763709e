-- name: add_to_tails
-- Adds to the dated postings of accounts; returns what those that passed a mark held before.
WITH changed AS (
    INSERT INTO ledgerx.dated_tails AS t (tenant_id, account_id, postings, posted, pending_debit, pending_credit)
    SELECT %(tenant_id)s, change.*
    FROM unnest(
        %(account_id)s::bigint [], %(postings)s::bigint [], %(posted)s::numeric [], %(pending_debit)s::numeric [],
        %(pending_credit)s::numeric []
    ) AS change
    ON CONFLICT ON CONSTRAINT dated_tails_pkey DO UPDATE
    SET postings = t.postings + excluded.postings, posted = t.posted + excluded.posted,
        pending_debit = t.pending_debit + excluded.pending_debit,
        pending_credit = t.pending_credit + excluded.pending_credit
    RETURNING
        new.account_id, new.postings AS postings_after, coalesce(old.postings, 0) AS postings,
        coalesce(old.posted, 0) AS posted, coalesce(old.pending_debit, 0) AS pending_debit,
        coalesce(old.pending_credit, 0) AS pending_credit
)
SELECT account_id, postings, posted, pending_debit, pending_credit
FROM changed
WHERE postings_after / %(postings_per_mark)s > postings / %(postings_per_mark)s;

-- name: insert_marks
-- The marks that a batch passed.
INSERT INTO ledgerx.dated_marks (tenant_id, account_id, seq, line, postings, posted, pending_debit, pending_credit)
SELECT %(tenant_id)s, mark.*
FROM unnest(
    %(account_id)s::bigint [], %(seq)s::bigint [], %(line)s::smallint [], %(postings)s::bigint [],
    %(posted)s::numeric [], %(pending_debit)s::numeric [], %(pending_credit)s::numeric []
) AS mark;

-- name: add_to_blocks
-- Adds dated postings to the blocks that they fall into; an account's first block begins with time. Tells their size.
INSERT INTO ledgerx.dated_blocks AS b (
    tenant_id, account_id, effective_at, seq, line, postings, first_seq, last_seq, posted, pending_debit, pending_credit
)
SELECT
    %(tenant_id)s, added.account_id,
    CASE WHEN found.seq IS NULL THEN '0001-01-01T00:00:00Z'::timestamptz ELSE found.effective_at END,
    CASE WHEN found.seq IS NULL THEN 0 ELSE found.seq END,
    CASE WHEN found.seq IS NULL THEN 0::smallint ELSE found.line END,
    count(*), min(added.seq), max(added.seq),
    coalesce(sum(added.amount) FILTER (WHERE added.layer = 0), 0),
    coalesce(sum(added.amount) FILTER (WHERE added.layer = 1), 0),
    coalesce(sum(added.amount) FILTER (WHERE added.layer = 2), 0)
FROM unnest(
    %(account_id)b::bigint [], %(effective_at)b::timestamptz [], %(seq)b::bigint [], %(line)b::smallint [],
    %(layer)b::smallint [], %(amount)b::numeric []
) AS added (account_id, effective_at, seq, line, layer, amount)
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
SET postings = b.postings + excluded.postings, first_seq = least(b.first_seq, excluded.first_seq),
    last_seq = greatest(b.last_seq, excluded.last_seq), posted = b.posted + excluded.posted,
    pending_debit = b.pending_debit + excluded.pending_debit,
    pending_credit = b.pending_credit + excluded.pending_credit
RETURNING b.account_id, b.effective_at, b.seq, b.line, b.postings;

-- name: split_block
-- Cuts a block into blocks of `postings`; the first of them keeps its key. Reads no further than the projection stands.
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
    SELECT p.*, row_number() OVER (ORDER BY p.effective_at, p.seq, p.line) - 1 AS number
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
), blocks AS (
    SELECT
        CASE WHEN min(number) = 0 THEN %(effective_at)s::timestamptz ELSE min(effective_at) END AS effective_at,
        CASE WHEN min(number) = 0 THEN %(seq)s::bigint ELSE (array_agg(seq ORDER BY number))[1] END AS seq,
        CASE WHEN min(number) = 0 THEN %(line)s::smallint ELSE (array_agg(line ORDER BY number))[1] END AS line,
        count(*) AS postings, min(seq) AS first_seq, max(seq) AS last_seq,
        coalesce(sum(amount) FILTER (WHERE layer = 0), 0) AS posted,
        coalesce(sum(amount) FILTER (WHERE layer = 1), 0) AS pending_debit,
        coalesce(sum(amount) FILTER (WHERE layer = 2), 0) AS pending_credit
    FROM lines
    GROUP BY number / %(postings)s
)
INSERT INTO ledgerx.dated_blocks AS b (
    tenant_id, account_id, effective_at, seq, line, postings, first_seq, last_seq, posted, pending_debit, pending_credit
)
SELECT
    %(tenant_id)s, %(account_id)s, effective_at, seq, line, postings, first_seq, last_seq, posted, pending_debit,
    pending_credit
FROM blocks
ON CONFLICT ON CONSTRAINT dated_blocks_pkey DO UPDATE
SET postings = excluded.postings, first_seq = excluded.first_seq, last_seq = excluded.last_seq,
    posted = excluded.posted, pending_debit = excluded.pending_debit, pending_credit = excluded.pending_credit;
