-- name: insert_user
-- A new user.
INSERT INTO ledgerx.users (tenant_id, user_id, email, email_key, name, role, password_hash)
VALUES (%(tenant_id)s, %(user_id)s, %(email)s, %(email_key)s, %(name)s, %(role)s, %(password_hash)s)
RETURNING user_id, email, email_key, name, role, status, version, created_at, updated_at;

-- name: user
-- One user by id.
SELECT user_id, email, email_key, name, role, status, version, created_at, updated_at, password_hash FROM ledgerx.users
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s;

-- name: user_by_email
-- One user by the address as it is compared.
SELECT user_id, email, email_key, name, role, status, version, created_at, updated_at, password_hash FROM ledgerx.users
WHERE tenant_id = %(tenant_id)s AND email_key = %(email_key)s;

-- name: users_page
-- Users in the order in which they came, after a user.
SELECT user_id, email, email_key, name, role, status, version, created_at, updated_at FROM ledgerx.users
WHERE tenant_id = %(tenant_id)s AND user_id > %(after)s
ORDER BY user_id
LIMIT %(limit)s;

-- name: lock_users
-- Serialises changes of a tenant's users, so that two owners cannot remove each other.
SELECT pg_advisory_xact_lock(hashtextextended('ledgerx.users ' || %(tenant_id)s::text, 0));

-- name: other_owner
-- An active owner of the tenant beside this user.
SELECT user_id FROM ledgerx.users
WHERE tenant_id = %(tenant_id)s AND role = 'owner' AND status = 'active' AND user_id <> %(user_id)s
LIMIT 1;

-- name: update_user
-- A user as a change leaves it.
UPDATE ledgerx.users
SET email = %(email)s, email_key = %(email_key)s, name = %(name)s, role = %(role)s, status = %(status)s,
    version = version + 1, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
RETURNING user_id, email, email_key, name, role, status, version, created_at, updated_at;

-- name: delete_user
-- Takes the tokens of the user along.
DELETE FROM ledgerx.users WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s;

-- name: set_password
-- A new password in place of the one that had this hash, or of any where that is null.
UPDATE ledgerx.users SET password_hash = %(password_hash)s
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
    AND (%(replaces)s::text IS NULL OR password_hash = %(replaces)s::text)
RETURNING email_key;

-- name: upsert_password_token
-- A token to set a password with, in place of an earlier one.
INSERT INTO ledgerx.password_tokens (tenant_id, user_id, token_sha256, expires_at)
VALUES (%(tenant_id)s, %(user_id)s, %(token_sha256)s, now() + make_interval(secs => %(ttl_s)s))
ON CONFLICT ON CONSTRAINT password_tokens_pkey DO UPDATE
SET token_sha256 = excluded.token_sha256, expires_at = excluded.expires_at
RETURNING expires_at;

-- name: password_token
-- The hash of a user's token to set a password with, while it is good.
SELECT token_sha256 FROM ledgerx.password_tokens
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND expires_at > now();

-- name: take_password_token
-- Uses such a token up.
DELETE FROM ledgerx.password_tokens
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND token_sha256 = %(token_sha256)s AND expires_at > now()
RETURNING user_id;

-- name: delete_families
-- Ends all log-ins of a user.
DELETE FROM ledgerx.refresh_tokens WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s;
