-- People who log in, the secrets of API clients, and the log of what both did that matters to security.
-- depends: 0002.marks

SET ROLE ledgerx_owner;

ALTER TABLE ledgerx.tenants ADD COLUMN allow_registration boolean NOT NULL DEFAULT false;

-- Whoever logs in names a tenant before there is a token that could. This answers one exact name and lists nothing.
CREATE FUNCTION ledgerx.tenant_named(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
RETURN (SELECT tenant_id FROM ledgerx.tenants WHERE name = wanted);
REVOKE EXECUTE ON FUNCTION ledgerx.tenant_named (text) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.tenant_named (text) TO ledgerx_api;

-- `email_key` is the address as it is compared, `email` as it is shown; without a password nobody logs in.
CREATE TABLE ledgerx.users (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    email text NOT NULL,
    email_key text COLLATE "C" NOT NULL,
    name text,
    role text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    password_hash text,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT users_email_key UNIQUE (tenant_id, email_key),
    CONSTRAINT users_role_check CHECK (role IN ('owner', 'operator', 'member', 'auditor')),
    CONSTRAINT users_status_check CHECK (status IN ('active', 'suspended'))
);
CREATE INDEX users_owners ON ledgerx.users (tenant_id, user_id) WHERE role = 'owner' AND status = 'active';

-- One row a log-in, with the hash of the family's latest token: any other token of the family is a used one.
CREATE TABLE ledgerx.refresh_tokens (
    tenant_id uuid NOT NULL,
    family_id uuid NOT NULL,
    user_id uuid NOT NULL,
    token_sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (tenant_id, family_id),
    CONSTRAINT refresh_tokens_user_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES ledgerx.users ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_sha256_check CHECK (octet_length(token_sha256) = 32)
) WITH (fillfactor = 70);
CREATE INDEX refresh_tokens_user ON ledgerx.refresh_tokens (tenant_id, user_id, expires_at);

-- The one token with which a user may set a password without knowing the one before.
CREATE TABLE ledgerx.password_tokens (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    token_sha256 bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT password_tokens_pkey PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT password_tokens_user_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES ledgerx.users ON DELETE CASCADE,
    CONSTRAINT password_tokens_sha256_check CHECK (octet_length(token_sha256) = 32)
);

-- Attempts to log in since the last good one, whether or not there is such a user: `subject` is a hash of what was
-- tried, and belongs to no row of users.
CREATE TABLE ledgerx.login_attempts (
    tenant_id uuid NOT NULL,
    subject bytea NOT NULL,
    failures integer NOT NULL,
    last_at timestamptz NOT NULL,
    locked_until timestamptz NOT NULL,
    CONSTRAINT login_attempts_pkey PRIMARY KEY (tenant_id, subject),
    CONSTRAINT login_attempts_subject_check CHECK (octet_length(subject) = 32)
) WITH (fillfactor = 70);
CREATE INDEX login_attempts_last ON ledgerx.login_attempts (tenant_id, last_at);

CREATE TABLE ledgerx.api_client_secrets (
    tenant_id uuid NOT NULL,
    client_id text COLLATE "C" NOT NULL,
    secret_id uuid NOT NULL,
    secret_sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_client_secrets_pkey PRIMARY KEY (tenant_id, client_id, secret_id),
    CONSTRAINT api_client_secrets_client_fkey FOREIGN KEY (tenant_id, client_id) REFERENCES ledgerx.api_clients,
    CONSTRAINT api_client_secrets_sha256_check CHECK (octet_length(secret_sha256) = 32)
);

CREATE TABLE ledgerx.audit_log (
    tenant_id uuid NOT NULL,
    audit_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    act text NOT NULL,
    actor text NOT NULL,
    subject text NOT NULL,
    address text,
    details text,
    CONSTRAINT audit_log_pkey PRIMARY KEY (tenant_id, audit_id)
);
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledgerx.audit_log
FOR EACH STATEMENT EXECUTE FUNCTION ledgerx.refuse_change();

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'users', 'refresh_tokens', 'password_tokens', 'login_attempts', 'api_client_secrets', 'audit_log'
    ] LOOP
        EXECUTE format('ALTER TABLE ledgerx.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE ledgerx.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON ledgerx.%I USING (tenant_id = (SELECT ledgerx.current_tenant()))', name
        );
    END LOOP;
END
$$;

-- The secrets that clients have move to the table of theirs, tenant by tenant, as everything that sees rows does.
DO $$
DECLARE
    tenant uuid;
BEGIN
    FOR tenant IN SELECT tenant_id FROM ledgerx.tenants LOOP
        PERFORM set_config('ledgerx.tenant', tenant::text, true);
        INSERT INTO ledgerx.api_client_secrets (tenant_id, client_id, secret_id, secret_sha256, created_at)
        SELECT tenant_id, client_id, gen_random_uuid(), secret_sha256, created_at
        FROM ledgerx.api_clients
        WHERE revoked_at IS NULL;
    END LOOP;
    PERFORM set_config('ledgerx.tenant', '', true);
END
$$;
ALTER TABLE ledgerx.api_clients DROP COLUMN secret_sha256;

GRANT SELECT ON ledgerx.users, ledgerx.refresh_tokens, ledgerx.password_tokens, ledgerx.login_attempts,
ledgerx.api_client_secrets, ledgerx.audit_log
TO ledgerx_api;
GRANT INSERT ON ledgerx.users, ledgerx.refresh_tokens, ledgerx.password_tokens, ledgerx.login_attempts,
ledgerx.api_clients, ledgerx.api_client_secrets, ledgerx.audit_log
TO ledgerx_api;
GRANT DELETE ON ledgerx.users, ledgerx.refresh_tokens, ledgerx.password_tokens, ledgerx.login_attempts,
ledgerx.api_client_secrets
TO ledgerx_api;
GRANT UPDATE (email, email_key, name, role, status, password_hash, version, updated_at) ON ledgerx.users
TO ledgerx_api;
GRANT UPDATE (token_sha256) ON ledgerx.refresh_tokens TO ledgerx_api;
GRANT UPDATE (token_sha256, expires_at) ON ledgerx.password_tokens TO ledgerx_api;
GRANT UPDATE (failures, last_at, locked_until) ON ledgerx.login_attempts TO ledgerx_api;
GRANT UPDATE (revoked_at) ON ledgerx.api_clients TO ledgerx_api;

RESET ROLE;
