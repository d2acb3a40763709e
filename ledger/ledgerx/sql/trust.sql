-- name: trust
-- The issuer that a tenant trusts.
SELECT issuer, audience, role_claim, roles, scopes_claim, algorithms, version, created_at, updated_at
FROM ledgerx.trusted_issuers
WHERE tenant_id = %(tenant_id)s;

-- name: lock_trust
-- The same, held against changes.
SELECT issuer, audience, role_claim, roles, scopes_claim, algorithms, version, created_at, updated_at
FROM ledgerx.trusted_issuers
WHERE tenant_id = %(tenant_id)s
FOR UPDATE;

-- name: put_trust
-- Makes it so, whatever was before.
INSERT INTO ledgerx.trusted_issuers (tenant_id, issuer, audience, role_claim, roles, scopes_claim, algorithms)
VALUES (
    %(tenant_id)s, %(issuer)s, %(audience)s, %(role_claim)s, %(roles)s, %(scopes_claim)s, %(algorithms)s
)
ON CONFLICT ON CONSTRAINT trusted_issuers_pkey DO UPDATE
SET issuer = excluded.issuer, audience = excluded.audience, role_claim = excluded.role_claim, roles = excluded.roles,
    scopes_claim = excluded.scopes_claim, algorithms = excluded.algorithms,
    version = trusted_issuers.version + 1, updated_at = now()
RETURNING issuer, audience, role_claim, roles, scopes_claim, algorithms, version, created_at, updated_at;

-- name: delete_trust
-- Trusts nobody any more.
DELETE FROM ledgerx.trusted_issuers WHERE tenant_id = %(tenant_id)s;
