-- name: insert_tenant
-- The tenant's row in the registry.
INSERT INTO ledgerx.tenants (tenant_id, name, time_zone) VALUES (%(tenant_id)s, %(name)s, %(time_zone)s);

-- name: insert_head
-- The head of an empty journal.
INSERT INTO ledgerx.heads (tenant_id, hash, recorded_at) VALUES (%(tenant_id)s, %(hash)s, now());

-- name: find_tenant
-- A tenant's id by its name; only the owner of the schema sees the whole registry.
SELECT tenant_id FROM ledgerx.tenants WHERE name = %(name)s;

-- name: insert_client
-- A client of the API with the hash of its secret.
INSERT INTO ledgerx.api_clients (tenant_id, client_id, name, secret_sha256, scopes)
VALUES (%(tenant_id)s, %(client_id)s, %(name)s, %(secret_sha256)s, %(scopes)s);

-- name: find_client
-- What a client's secret is checked against.
SELECT secret_sha256, scopes FROM ledgerx.api_clients
WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s AND revoked_at IS NULL;
