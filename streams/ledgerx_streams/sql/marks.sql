-- name: tails
-- The tails of those accounts that have one.
SELECT t.account_id, t.postings, t.posted, t.pending_debit, t.pending_credit
FROM unnest(%(account_id)b::bigint []) AS wanted (account_id)
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.mark_tails WHERE tenant_id = %(tenant_id)s AND account_id = wanted.account_id OFFSET 0
) AS t;

-- name: put_tails
-- The tails of accounts as a batch leaves them.
INSERT INTO ledgerx.mark_tails (tenant_id, account_id, postings, posted, pending_debit, pending_credit)
SELECT %(tenant_id)s, tail.*
FROM unnest(
    %(account_id)b::bigint [], %(postings)b::bigint [], %(posted)b::numeric [], %(pending_debit)b::numeric [],
    %(pending_credit)b::numeric []
) AS tail
ON CONFLICT ON CONSTRAINT mark_tails_pkey DO UPDATE
SET postings = excluded.postings, posted = excluded.posted, pending_debit = excluded.pending_debit,
    pending_credit = excluded.pending_credit;

-- name: insert_marks
-- The marks that a batch passed.
INSERT INTO ledgerx.marks (tenant_id, account_id, seq, line, postings, posted, pending_debit, pending_credit)
SELECT %(tenant_id)s, mark.*
FROM unnest(
    %(account_id)b::bigint [], %(seq)b::bigint [], %(line)b::smallint [], %(postings)b::bigint [],
    %(posted)b::numeric [], %(pending_debit)b::numeric [], %(pending_credit)b::numeric []
) AS mark;
