-- name: claim_attempt
-- Counts an attempt to log in before its outcome is known, so that guesses side by side count too; no row while locked.
INSERT INTO ledgerx.login_attempts AS a (tenant_id, subject, failures, last_at, locked_until)
VALUES (%(tenant_id)s, %(subject)s, 1, now(), '-infinity')
ON CONFLICT ON CONSTRAINT login_attempts_pkey DO UPDATE
SET failures = CASE WHEN a.last_at < now() - make_interval(secs => %(forget_s)s) THEN 1 ELSE a.failures + 1 END,
    last_at = now(),
    locked_until = CASE
        WHEN a.last_at < now() - make_interval(secs => %(forget_s)s) OR a.failures + 1 < %(free)s THEN '-infinity'
        ELSE now() + make_interval(
            secs => least(%(max_lock_s)s::float8, power(2::float8, least(a.failures + 1 - %(free)s, 30)))
        )
    END
WHERE a.locked_until <= now()
RETURNING failures;

-- name: lock_left
-- Seconds until the next attempt is taken.
SELECT greatest(1, ceil(extract(EPOCH FROM locked_until - now())))::int FROM ledgerx.login_attempts
WHERE tenant_id = %(tenant_id)s AND subject = %(subject)s AND locked_until > '-infinity';

-- name: forget_attempts
-- A few of the tenant's attempts that do not count any more.
DELETE FROM ledgerx.login_attempts AS a
USING (
    SELECT subject FROM ledgerx.login_attempts
    WHERE tenant_id = %(tenant_id)s AND last_at < now() - make_interval(secs => %(forget_s)s)
    ORDER BY last_at
    LIMIT 10
    FOR UPDATE SKIP LOCKED
) AS stale
WHERE a.tenant_id = %(tenant_id)s AND a.subject = stale.subject;

-- name: clear_attempts
-- A good attempt takes back those before it.
DELETE FROM ledgerx.login_attempts WHERE tenant_id = %(tenant_id)s AND subject = %(subject)s;

-- name: lock_user
-- A user who logs in, held against being suspended or given another password meanwhile.
SELECT password_hash, status FROM ledgerx.users
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
FOR NO KEY UPDATE;

-- name: insert_family
-- A log-in with the hash of its first refresh token.
INSERT INTO ledgerx.refresh_tokens (tenant_id, family_id, user_id, token_sha256, expires_at)
VALUES (%(tenant_id)s, %(family_id)s, %(user_id)s, %(token_sha256)s, now() + make_interval(secs => %(ttl_s)s));

-- name: delete_oldest_families
-- The log-ins of a user beyond the newest.
DELETE FROM ledgerx.refresh_tokens AS r
USING (
    SELECT family_id FROM ledgerx.refresh_tokens
    WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
    ORDER BY expires_at DESC
    OFFSET %(keep)s
) AS old
WHERE r.tenant_id = %(tenant_id)s AND r.family_id = old.family_id;

-- name: lock_family
-- A log-in by its id; of two who bring the same token the second sees what the first left.
SELECT user_id, token_sha256, expires_at <= now() FROM ledgerx.refresh_tokens
WHERE tenant_id = %(tenant_id)s AND family_id = %(family_id)s
FOR UPDATE;

-- name: rotate_family
-- The hash of the token that takes the place of the one used.
UPDATE ledgerx.refresh_tokens SET token_sha256 = %(token_sha256)s
WHERE tenant_id = %(tenant_id)s AND family_id = %(family_id)s;

-- name: delete_family
-- Ends a log-in.
DELETE FROM ledgerx.refresh_tokens WHERE tenant_id = %(tenant_id)s AND family_id = %(family_id)s;
