-- name: projected
-- The balances projection with its head, as of one moment: the accounts, and the marks with the line they stand at.
SELECT s.seq, s.hash, k.account_id, k.seq, k.line, k.postings, k.posted, k.pending_debit, k.pending_credit
FROM ledgerx.projections AS s
LEFT JOIN (
    SELECT tenant_id, account_id, NULL AS seq, NULL AS line, postings, posted, pending_debit, pending_credit
    FROM ledgerx.balances
    UNION ALL
    SELECT tenant_id, account_id, seq, line, postings, posted, pending_debit, pending_credit
    FROM ledgerx.marks
) AS k ON k.tenant_id = s.tenant_id
WHERE s.tenant_id = %(tenant_id)s AND s.projection = 'balances';

-- name: projected_dated
-- What the volumes projection says of dated postings, with its head, as of one moment: their number by account, that of
-- all blocks together, and the marks with the line they stand at.
SELECT s.seq, s.hash, k.account_id, k.seq, k.line, k.postings, k.in_blocks
FROM ledgerx.projections AS s
LEFT JOIN (
    SELECT
        tenant_id, account_id, NULL::bigint AS seq, NULL::smallint AS line, postings, NULL::numeric AS in_blocks
    FROM ledgerx.dated_tails
    UNION ALL
    SELECT tenant_id, account_id, NULL, NULL, NULL, sum(postings)
    FROM ledgerx.dated_blocks
    WHERE tenant_id = %(tenant_id)s
    GROUP BY tenant_id, account_id
    UNION ALL
    SELECT tenant_id, account_id, seq, line, postings, NULL
    FROM ledgerx.dated_marks
) AS k ON k.tenant_id = s.tenant_id
WHERE s.tenant_id = %(tenant_id)s AND s.projection = 'volumes';

-- name: head_and_guarded
-- The journal's head with the sums that the engine keeps, as of one moment.
SELECT h.seq, h.hash, g.account_id, g.posted, g.pending_debit, g.pending_credit, h.accounts
FROM ledgerx.heads AS h
LEFT JOIN ledgerx.guarded_balances AS g ON g.tenant_id = h.tenant_id
WHERE h.tenant_id = %(tenant_id)s;

-- name: head
-- The journal's head.
SELECT seq, hash, recorded_at FROM ledgerx.heads WHERE tenant_id = %(tenant_id)s;

-- name: open_holds
-- The journal's head with the holds kept as open, as of one moment.
SELECT h.seq, o.seq
FROM ledgerx.heads AS h
LEFT JOIN ledgerx.open_holds AS o ON o.tenant_id = h.tenant_id
WHERE h.tenant_id = %(tenant_id)s;

-- name: registries
-- The journal's head with what it says of the registries, and a row for each asset and category, as of one moment.
SELECT
    h.seq, h.assets, h.categories, h.strict_categories, h.settings_seq,
    r.kind, r.code, r.scale, r.name, r.description, r.seq
FROM ledgerx.heads AS h
LEFT JOIN (
    SELECT tenant_id, 'asset' AS kind, code, scale, name, NULL AS description, seq FROM ledgerx.assets
    UNION ALL
    SELECT tenant_id, 'category' AS kind, code, NULL AS scale, name, description, seq FROM ledgerx.categories
) AS r ON r.tenant_id = h.tenant_id
WHERE h.tenant_id = %(tenant_id)s;
