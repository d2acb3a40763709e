-- Assets and categories that a tenant registers, and its settings. All of it is entries of the journal; what is here is
-- how the latest of them left it.
-- depends: 0007.reading

SET ROLE ledgerx_owner;

ALTER TABLE ledgerx.entries DROP CONSTRAINT entries_kind_check, DROP CONSTRAINT entries_change_check;
ALTER TABLE ledgerx.entries
ADD CONSTRAINT entries_kind_check CHECK (
    kind IN (
        'post', 'hold', 'capture', 'release', 'expire', 'reverse', 'amend', 'open_account', 'update_account',
        'close_account', 'create_asset', 'update_asset', 'delete_asset', 'create_category', 'update_category',
        'delete_category', 'change_settings'
    )
) NOT VALID,
ADD CONSTRAINT entries_change_check CHECK (
    (kind IN ('post', 'hold', 'capture', 'release', 'expire', 'reverse', 'amend')) = (change IS NULL)
) NOT VALID;

CREATE TABLE ledgerx.assets (
    tenant_id uuid NOT NULL,
    code text COLLATE "C" NOT NULL,
    scale smallint NOT NULL,
    name text,
    seq bigint NOT NULL,
    CONSTRAINT assets_pkey PRIMARY KEY (tenant_id, code),
    CONSTRAINT assets_code_check CHECK (code ~ '^[A-Z]([A-Z0-9._-]{0,30}[A-Z0-9])?$'),
    CONSTRAINT assets_scale_check CHECK (scale BETWEEN 0 AND 18)
);

CREATE TABLE ledgerx.categories (
    tenant_id uuid NOT NULL,
    code text COLLATE "C" NOT NULL,
    name text,
    description text,
    seq bigint NOT NULL,
    CONSTRAINT categories_pkey PRIMARY KEY (tenant_id, code),
    CONSTRAINT categories_code_check CHECK (code ~ '^[A-Za-z0-9._:-]{1,255}$')
);

-- The head, which every batch reads anyway, says how many there are and whether other categories are refused, so that
-- who needs neither pays for neither.
ALTER TABLE ledgerx.heads
ADD COLUMN assets integer NOT NULL DEFAULT 0,
ADD COLUMN categories integer NOT NULL DEFAULT 0,
ADD COLUMN strict_categories boolean NOT NULL DEFAULT false,
ADD COLUMN settings_seq bigint NOT NULL DEFAULT 0,
ADD CONSTRAINT heads_registries_check CHECK (assets >= 0 AND categories >= 0 AND settings_seq >= 0);

-- Whether accounts hold an asset, and with which scale. All accounts have a number above zero, and a query says so to
-- use this index: the planner would take it for look-ups by code as well, where it knows nothing of the table yet.
CREATE INDEX accounts_asset ON ledgerx.accounts (tenant_id, asset) WHERE account_id > 0;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['assets', 'categories'] LOOP
        EXECUTE format('ALTER TABLE ledgerx.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE ledgerx.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON ledgerx.%I USING (tenant_id = (SELECT ledgerx.current_tenant()))', name
        );
    END LOOP;
END
$$;

GRANT SELECT, INSERT, DELETE ON ledgerx.assets, ledgerx.categories TO ledgerx_api;
GRANT UPDATE (scale, name, seq) ON ledgerx.assets TO ledgerx_api;
GRANT UPDATE (name, description, seq) ON ledgerx.categories TO ledgerx_api;
GRANT UPDATE (assets, categories, strict_categories, settings_seq) ON ledgerx.heads TO ledgerx_api;

RESET ROLE;
