-- name: add
-- Adds to the sums of accounts; those of a new account start from nothing.
INSERT INTO ledgerx.balances AS b (tenant_id, account_id, posted, pending_debit, pending_credit, seq)
SELECT %(tenant_id)s, change.*
FROM unnest(
    %(account_id)b::bigint [], %(posted)b::numeric [], %(pending_debit)b::numeric [], %(pending_credit)b::numeric [],
    %(seq)b::bigint []
) AS change
ON CONFLICT ON CONSTRAINT balances_pkey DO UPDATE
SET posted = b.posted + excluded.posted, pending_debit = b.pending_debit + excluded.pending_debit,
    pending_credit = b.pending_credit + excluded.pending_credit, seq = excluded.seq;
