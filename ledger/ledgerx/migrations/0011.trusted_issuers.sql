-- The issuer of tokens from outside that a tenant trusts, and what these tokens may do in it.
-- depends: 0010.members

SET ROLE ledgerx_owner;

-- An audience of an issuer is one tenant's on the platform: a token that is meant for one is never good in another.
-- `roles` maps values of the claim at the path `role_claim` to roles of ours; what is not in it is no role.
CREATE TABLE ledgerx.trusted_issuers (
    tenant_id uuid NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    audience text COLLATE "C" NOT NULL,
    role_claim text [] NOT NULL,
    roles jsonb NOT NULL,
    scopes_claim text [],
    algorithms text [] NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT trusted_issuers_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT trusted_issuers_audience_key UNIQUE (issuer, audience),
    CONSTRAINT trusted_issuers_audience_check CHECK (length(audience) BETWEEN 1 AND 255),
    CONSTRAINT trusted_issuers_claims_check CHECK (
        cardinality(role_claim) BETWEEN 1 AND 8 AND (scopes_claim IS NULL OR cardinality(scopes_claim) BETWEEN 1 AND 8)
    ),
    CONSTRAINT trusted_issuers_roles_check CHECK (
        CASE WHEN jsonb_typeof(roles) = 'object' THEN
            roles <> '{}' AND NOT jsonb_path_exists(
                roles,
                'strict $.* ? (@.type() != "string"
                    || (@ != "owner" && @ != "operator" && @ != "member" && @ != "auditor"))'
            )
        ELSE false END
    ),
    CONSTRAINT trusted_issuers_algorithms_check CHECK (
        cardinality(algorithms) > 0 AND algorithms <@ ARRAY['EdDSA', 'ES256', 'RS256']
    )
);
ALTER TABLE ledgerx.trusted_issuers ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledgerx.trusted_issuers FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON ledgerx.trusted_issuers USING (tenant_id = (SELECT ledgerx.current_tenant()));

GRANT SELECT, INSERT, DELETE ON ledgerx.trusted_issuers TO ledgerx_api;
GRANT UPDATE (issuer, audience, role_claim, roles, scopes_claim, algorithms, version, updated_at)
ON ledgerx.trusted_issuers TO ledgerx_api;

RESET ROLE;
