-- name: tree
-- What a tenant's tree grows on from.
SELECT size, hashes, trial_balance FROM ledgerx.merkle_trees WHERE tenant_id = %(tenant_id)s;

-- name: types
-- The types of accounts.
SELECT a.account_id, a.type
FROM unnest(%(account_ids)s::bigint []) AS wanted (account_id)
CROSS JOIN LATERAL (
    SELECT account_id, type FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id = wanted.account_id
    OFFSET 0
) AS a;

-- name: clear
-- Deletes a tenant's tree. What was signed stays.
WITH tiles AS (
    DELETE FROM ledgerx.merkle_tiles WHERE tenant_id = %(tenant_id)s
)
DELETE FROM ledgerx.merkle_trees WHERE tenant_id = %(tenant_id)s;

-- name: append
-- Appends hashes to tiles; new ones start from nothing.
INSERT INTO ledgerx.merkle_tiles AS t (tenant_id, level, index, hashes)
SELECT %(tenant_id)s, added.level, added.index, added.hashes
FROM unnest(%(levels)b::smallint [], %(indexes)b::bigint [], %(hashes)b::bytea []) AS added (level, index, hashes)
ON CONFLICT ON CONSTRAINT merkle_tiles_pkey DO UPDATE SET hashes = t.hashes || excluded.hashes;

-- name: keep_tree
-- What the tree grows on from next time.
INSERT INTO ledgerx.merkle_trees AS t (tenant_id, size, hashes, trial_balance, unsigned_since)
VALUES (%(tenant_id)s, %(size)s, %(hashes)s, %(trial_balance)s, now())
ON CONFLICT ON CONSTRAINT merkle_trees_pkey DO UPDATE
SET size = excluded.size, hashes = excluded.hashes, trial_balance = excluded.trial_balance,
    unsigned_since = CASE WHEN t.unsigned_since IS NULL THEN excluded.unsigned_since ELSE t.unsigned_since END;
