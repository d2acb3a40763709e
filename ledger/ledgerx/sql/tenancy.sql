-- name: insert_tenant
-- The tenant's row in the registry.
INSERT INTO ledgerx.tenants (tenant_id, name, owner, time_zone)
VALUES (%(tenant_id)s, %(name)s, %(owner)s, %(time_zone)s);

-- name: insert_head
-- The head of an empty journal.
INSERT INTO ledgerx.heads (tenant_id, hash, recorded_at) VALUES (%(tenant_id)s, %(hash)s, now());

-- name: insert_schedule
-- When the balances of a tenant are captured, as the defaults say.
INSERT INTO ledgerx.snapshot_schedules (tenant_id) VALUES (%(tenant_id)s);

-- name: find_tenant
-- A tenant's id by its name; only the owner of the schema sees the whole registry.
SELECT tenant_id FROM ledgerx.tenants WHERE name = %(name)s;

-- name: tenants
-- The registry, by name; only the owner of the schema sees it whole.
SELECT tenant_id, name, created_at FROM ledgerx.tenants WHERE state <> 'purged' ORDER BY name;

-- name: tenant_named
-- A tenant's id by its name, for who has no token yet.
SELECT ledgerx.tenant_named(%(name)s);

-- name: tenants_named
-- Those of some names that tenants have.
SELECT n.name FROM unnest(%(names)s::text []) AS n (name) WHERE ledgerx.tenant_named(n.name) IS NOT NULL;

-- name: allow_registration
-- Lets people register themselves, or no more.
UPDATE ledgerx.tenants SET allow_registration = %(allowed)s WHERE tenant_id = %(tenant_id)s;

-- name: let_members_post
-- Lets members take from their accounts, or no more.
UPDATE ledgerx.tenants SET members_may_post = %(allowed)s WHERE tenant_id = %(tenant_id)s;

-- name: registration_allowed
-- Whether people may register themselves.
SELECT allow_registration AND state = 'active' FROM ledgerx.tenants WHERE tenant_id = %(tenant_id)s;

-- name: insert_client
-- A client of the API.
INSERT INTO ledgerx.api_clients (tenant_id, client_id, name, scopes)
VALUES (%(tenant_id)s, %(client_id)s, %(name)s, %(scopes)s);

-- name: ensure_client
-- A client as somebody declares it; no row where it was so already.
INSERT INTO ledgerx.api_clients AS c (tenant_id, client_id, name, scopes)
VALUES (%(tenant_id)s, %(client_id)s, %(name)s, %(scopes)s)
ON CONFLICT ON CONSTRAINT api_clients_pkey DO UPDATE
SET name = excluded.name, scopes = excluded.scopes, revoked_at = NULL
WHERE (c.name, c.scopes, c.revoked_at) IS DISTINCT FROM (excluded.name, excluded.scopes, NULL)
RETURNING c.client_id;

-- name: secrets
-- The secrets of a client, the oldest first.
SELECT secret_id, created_at, secret_sha256 FROM ledgerx.api_client_secrets
WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s
ORDER BY created_at, secret_id;

-- name: insert_secret
-- The hash of a secret of a client.
INSERT INTO ledgerx.api_client_secrets (tenant_id, client_id, secret_id, secret_sha256)
VALUES (%(tenant_id)s, %(client_id)s, %(secret_id)s, %(secret_sha256)s);

-- name: find_client
-- What the secret that comes with a client's id is checked against: a row for each that is good.
SELECT c.scopes, s.secret_sha256 FROM ledgerx.api_clients AS c
CROSS JOIN LATERAL (
    SELECT secret_sha256 FROM ledgerx.api_client_secrets
    WHERE tenant_id = %(tenant_id)s AND client_id = c.client_id OFFSET 0
) AS s
WHERE c.tenant_id = %(tenant_id)s AND c.client_id = %(client_id)s AND c.revoked_at IS NULL;

-- name: clients_page
-- Clients with their secrets' ids, in the order of their ids, after a client.
SELECT c.client_id, c.name, c.scopes, c.created_at, s.secret_ids, s.secrets_created_at FROM ledgerx.api_clients AS c
CROSS JOIN LATERAL (
    SELECT
        array_agg(secret_id ORDER BY created_at, secret_id) AS secret_ids,
        array_agg(created_at ORDER BY created_at, secret_id) AS secrets_created_at
    FROM ledgerx.api_client_secrets
    WHERE tenant_id = %(tenant_id)s AND client_id = c.client_id OFFSET 0
) AS s
WHERE c.tenant_id = %(tenant_id)s AND c.client_id > %(after)s AND c.revoked_at IS NULL
ORDER BY c.client_id
LIMIT %(limit)s;

-- name: revoke_client
-- Ends a client; its name stays for who reads what it did.
UPDATE ledgerx.api_clients SET revoked_at = now()
WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s AND revoked_at IS NULL
RETURNING client_id;

-- name: lock_client
-- A client whose secrets change.
SELECT client_id FROM ledgerx.api_clients
WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s AND revoked_at IS NULL
FOR NO KEY UPDATE;

-- name: count_secrets
-- How many secrets a client has.
SELECT count(*) FROM ledgerx.api_client_secrets WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s;

-- name: delete_secret
-- Ends one secret of a client.
DELETE FROM ledgerx.api_client_secrets
WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s AND secret_id = %(secret_id)s
RETURNING secret_id;

-- name: delete_secrets
-- Ends all secrets of a client.
DELETE FROM ledgerx.api_client_secrets WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s;
