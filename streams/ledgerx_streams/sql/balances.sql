-- name: add
-- Adds to the sums and counts of accounts, and returns what they come to where that passes a mark.
WITH changed AS (
    INSERT INTO ledgerx.balances AS b (tenant_id, account_id, posted, pending_debit, pending_credit, postings, seq)
    SELECT %(tenant_id)s, change.*
    FROM unnest(
        %(account_id)s::bigint [], %(posted)s::numeric [], %(pending_debit)s::numeric [],
        %(pending_credit)s::numeric [], %(postings)s::bigint [], %(seq)s::bigint []
    ) AS change
    ON CONFLICT ON CONSTRAINT balances_pkey DO UPDATE
    SET posted = b.posted + excluded.posted, pending_debit = b.pending_debit + excluded.pending_debit,
        pending_credit = b.pending_credit + excluded.pending_credit, postings = b.postings + excluded.postings,
        seq = excluded.seq
    RETURNING coalesce(old.postings, 0) AS postings_before, new.*
)
SELECT account_id, postings, posted, pending_debit, pending_credit
FROM changed
WHERE postings / %(postings_per_mark)s > postings_before / %(postings_per_mark)s;

-- name: insert_marks
-- The marks that a batch passed.
INSERT INTO ledgerx.marks (tenant_id, account_id, seq, line, posted, pending_debit, pending_credit, postings)
SELECT %(tenant_id)s, mark.*
FROM unnest(
    %(account_id)s::bigint [], %(seq)s::bigint [], %(line)s::smallint [], %(posted)s::numeric [],
    %(pending_debit)s::numeric [], %(pending_credit)s::numeric [], %(postings)s::bigint []
) AS mark;
