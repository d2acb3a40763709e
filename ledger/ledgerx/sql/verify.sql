-- name: projected_balances
-- The balances projection with its head, as of one moment.
SELECT s.seq, s.hash, b.account_id, b.posted, b.pending_debit, b.pending_credit
FROM ledgerx.projections AS s
LEFT JOIN ledgerx.balances AS b ON b.tenant_id = s.tenant_id
WHERE s.tenant_id = %(tenant_id)s AND s.projection = 'balances';

-- name: projected_marks
-- The marks with the head of their projection, as of one moment.
SELECT s.seq, s.hash, m.account_id, m.seq, m.line, m.postings, m.posted, m.pending_debit, m.pending_credit
FROM ledgerx.projections AS s
LEFT JOIN ledgerx.marks AS m ON m.tenant_id = s.tenant_id
WHERE s.tenant_id = %(tenant_id)s AND s.projection = 'marks';

-- name: head_and_guarded
-- The journal's head with the sums that the engine keeps, as of one moment.
SELECT h.seq, h.hash, g.account_id, g.posted, g.pending_debit, g.pending_credit, h.accounts
FROM ledgerx.heads AS h
LEFT JOIN ledgerx.guarded_balances AS g ON g.tenant_id = h.tenant_id
WHERE h.tenant_id = %(tenant_id)s;

-- name: open_holds
-- The journal's head with the holds kept as open, as of one moment.
SELECT h.seq, o.seq
FROM ledgerx.heads AS h
LEFT JOIN ledgerx.open_holds AS o ON o.tenant_id = h.tenant_id
WHERE h.tenant_id = %(tenant_id)s;
