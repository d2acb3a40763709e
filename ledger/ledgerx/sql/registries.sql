-- name: load_assets
-- Those of these assets that are registered or that accounts hold, with the scale of those accounts.
SELECT wanted.code, r.scale, r.name, r.seq, held.scale
FROM unnest(%(codes)b::text []) AS wanted (code)
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.assets WHERE tenant_id = %(tenant_id)s AND code = wanted.code OFFSET 0
) AS r ON true
LEFT JOIN LATERAL (
    SELECT scale FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND asset = wanted.code LIMIT 1
) AS held ON true
WHERE r.code IS NOT NULL OR held.scale IS NOT NULL;

-- name: load_categories
-- Those of these categories that are registered.
SELECT c.code, c.name, c.description, c.seq
FROM unnest(%(codes)b::text []) AS wanted (code)
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.categories WHERE tenant_id = %(tenant_id)s AND code = wanted.code OFFSET 0
) AS c;

-- name: upsert_assets
-- Assets registered or changed by a batch.
INSERT INTO ledgerx.assets (tenant_id, code, scale, name, seq)
SELECT %(tenant_id)s, batch.*
FROM unnest(%(code)b::text [], %(scale)b::smallint [], %(name)b::text [], %(seq)b::bigint []) AS batch
ON CONFLICT ON CONSTRAINT assets_pkey DO UPDATE
SET scale = excluded.scale, name = excluded.name, seq = excluded.seq;

-- name: delete_assets
-- Assets taken away by a batch.
DELETE FROM ledgerx.assets WHERE tenant_id = %(tenant_id)s AND code = any(%(codes)b);

-- name: upsert_categories
-- Categories registered or changed by a batch.
INSERT INTO ledgerx.categories (tenant_id, code, name, description, seq)
SELECT %(tenant_id)s, batch.*
FROM unnest(%(code)b::text [], %(name)b::text [], %(description)b::text [], %(seq)b::bigint []) AS batch
ON CONFLICT ON CONSTRAINT categories_pkey DO UPDATE
SET name = excluded.name, description = excluded.description, seq = excluded.seq;

-- name: delete_categories
-- Categories taken away by a batch.
DELETE FROM ledgerx.categories WHERE tenant_id = %(tenant_id)s AND code = any(%(codes)b);

-- name: update_registry
-- What the head says of registries and settings, as a batch left it.
UPDATE ledgerx.heads
SET assets = %(assets)s, categories = %(categories)s, strict_categories = %(strict_categories)s,
    settings_seq = %(settings_seq)s
WHERE tenant_id = %(tenant_id)s;

-- name: registry
-- What the head says of registries and settings.
SELECT assets, categories, strict_categories, settings_seq FROM ledgerx.heads WHERE tenant_id = %(tenant_id)s;

-- name: asset_codes_page
-- The codes of registered assets after a code.
SELECT code FROM ledgerx.assets
WHERE tenant_id = %(tenant_id)s AND code > %(after)s
ORDER BY code
LIMIT %(limit)s;

-- name: categories_page
-- Registered categories in ranges of codes, after a code.
SELECT c.code, c.name, c.description, c.seq
FROM unnest(%(lows)b::text [], %(highs)b::text []) AS wanted (low, high)
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.categories
    WHERE tenant_id = %(tenant_id)s AND code >= wanted.low AND code < wanted.high AND code > %(after)s
    ORDER BY code
    LIMIT %(limit)s
) AS c
ORDER BY c.code
LIMIT %(limit)s;
