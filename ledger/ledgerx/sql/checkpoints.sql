-- name: checkpoints_page
-- Checkpoints of fewer entries than a number, the largest first.
SELECT size, root, signed_at, note, trial_balance, verifier_keys
FROM ledgerx.checkpoints
WHERE tenant_id = %(tenant_id)s AND size < %(before)s
ORDER BY size DESC
LIMIT %(limit)s;

-- name: checkpoints
-- Checkpoints by their sizes, the smallest first.
SELECT size, root, signed_at, note, trial_balance, verifier_keys
FROM ledgerx.checkpoints
WHERE tenant_id = %(tenant_id)s AND size = any(%(sizes)b::bigint [])
ORDER BY size;

-- name: tiles
-- Tiles by their places.
SELECT t.level, t.index, t.hashes
FROM unnest(%(levels)b::smallint [], %(indexes)b::bigint []) AS wanted (level, index)
CROSS JOIN LATERAL (
    SELECT level, index, hashes FROM ledgerx.merkle_tiles
    WHERE tenant_id = %(tenant_id)s AND level = wanted.level AND index = wanted.index
    OFFSET 0
) AS t;

-- name: lock_tree
-- A tree with entries that no checkpoint covers, and the checkpoint before; nothing where somebody else has it.
SELECT t.size, t.hashes, t.trial_balance, c.size, c.root
FROM ledgerx.merkle_trees AS t
LEFT JOIN LATERAL (
    SELECT size, root FROM ledgerx.checkpoints WHERE tenant_id = %(tenant_id)s ORDER BY size DESC LIMIT 1
) AS c ON true
WHERE t.tenant_id = %(tenant_id)s AND t.unsigned_since IS NOT NULL
FOR NO KEY UPDATE OF t SKIP LOCKED;

-- name: insert_checkpoint
-- A signed checkpoint; the one before is superseded if it is of the same day.
WITH before AS (
    UPDATE ledgerx.checkpoints SET superseded = true
    WHERE tenant_id = %(tenant_id)s AND size = %(old_size)s AND signed_at >= date_trunc('day', now(), 'UTC')
)
INSERT INTO ledgerx.checkpoints (tenant_id, size, root, note, trial_balance, verifier_keys)
VALUES (%(tenant_id)s, %(size)s, %(root)s, %(note)s, %(trial_balance)s, %(verifier_keys)s);

-- name: covered
-- All entries of a tree are covered.
UPDATE ledgerx.merkle_trees SET unsigned_since = NULL WHERE tenant_id = %(tenant_id)s;

-- name: due_checkpoints
-- Tenants with entries that have waited for a checkpoint as long as that, the longest first.
SELECT tenant_id FROM ledgerx.due_checkpoints(%(interval_s)s, %(most)s);

-- name: tree
-- What a tree grows on from, and the trial balance of its entries.
SELECT size, hashes, trial_balance FROM ledgerx.merkle_trees WHERE tenant_id = %(tenant_id)s;

-- name: checkpoints_between
-- Checkpoints in a range of sizes.
SELECT size, root, signed_at, note, trial_balance, verifier_keys
FROM ledgerx.checkpoints
WHERE tenant_id = %(tenant_id)s AND size BETWEEN %(first)s AND %(last)s
ORDER BY size;
