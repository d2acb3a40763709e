-- name: tenants
-- All tenants.
SELECT tenant_id FROM ledgerx.tenants ORDER BY tenant_id;

-- name: begin
-- Where a tenant is done up to, of one that nobody has looked at.
INSERT INTO ledgerx.search_heads (tenant_id, seq) VALUES (%(tenant_id)s, 0)
ON CONFLICT ON CONSTRAINT search_heads_pkey DO NOTHING;

-- name: lock
-- Whoever does the same waits.
SELECT seq FROM ledgerx.search_heads WHERE tenant_id = %(tenant_id)s FOR UPDATE;

-- name: page
-- The next entries that may have search terms, each with the number of the last entry of the page, which may have none:
-- then there is one row without a number. No row where all is done.
SELECT e.seq, page.last, e.account_id, e.amended_seq, e.category, e.metadata
FROM (
    SELECT s.seq, least(s.seq + %(limit)s, h.seq) AS last
    FROM ledgerx.search_heads AS s
    INNER JOIN ledgerx.heads AS h ON h.tenant_id = %(tenant_id)s AND h.seq > s.seq
    WHERE s.tenant_id = %(tenant_id)s
) AS page
LEFT JOIN LATERAL (
    SELECT
        seq, (change::jsonb ->> 'account_id')::bigint AS account_id,
        CASE kind WHEN 'amend' THEN target_seq END AS amended_seq, category, metadata
    FROM ledgerx.entries
    WHERE tenant_id = %(tenant_id)s AND seq > page.seq AND seq <= page.last
        AND (metadata IS NOT NULL OR kind = 'amend')
    OFFSET 0
) AS e ON true;

-- name: advance
-- How far a tenant is done.
UPDATE ledgerx.search_heads SET seq = %(seq)s WHERE tenant_id = %(tenant_id)s;
