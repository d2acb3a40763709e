-- name: add
-- Adds to accounts, new ones start from nothing; returns what those that passed a mark held before.
WITH changed AS (
    INSERT INTO ledgerx.balances AS b (tenant_id, account_id, postings, posted, pending_debit, pending_credit, seq)
    SELECT %(tenant_id)s, change.*
    FROM unnest(
        %(account_id)s::bigint [], %(postings)s::bigint [], %(posted)s::numeric [], %(pending_debit)s::numeric [],
        %(pending_credit)s::numeric [], %(seq)s::bigint []
    ) AS change
    ON CONFLICT ON CONSTRAINT balances_pkey DO UPDATE
    SET postings = b.postings + excluded.postings, posted = b.posted + excluded.posted,
        pending_debit = b.pending_debit + excluded.pending_debit,
        pending_credit = b.pending_credit + excluded.pending_credit, seq = excluded.seq
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
INSERT INTO ledgerx.marks (tenant_id, account_id, seq, line, postings, posted, pending_debit, pending_credit)
SELECT %(tenant_id)s, mark.*
FROM unnest(
    %(account_id)s::bigint [], %(seq)s::bigint [], %(line)s::smallint [], %(postings)s::bigint [],
    %(posted)s::numeric [], %(pending_debit)s::numeric [], %(pending_credit)s::numeric []
) AS mark;
