-- How many accounts a tenant has opened, kept with its head, so that a quota costs no count.
-- depends: 0003.people

SET ROLE ledgerx_owner;

ALTER TABLE ledgerx.heads ADD COLUMN accounts bigint NOT NULL DEFAULT 0;
ALTER TABLE ledgerx.heads ADD CONSTRAINT heads_accounts_check CHECK (accounts >= 0);

-- One tenant at a time: the owner too sees the rows of the current tenant only.
DO $$
DECLARE
    tenant uuid;
BEGIN
    FOR tenant IN SELECT tenant_id FROM ledgerx.tenants LOOP
        PERFORM set_config('ledgerx.tenant', tenant::text, true);
        UPDATE ledgerx.heads
        SET accounts = (SELECT count(*) FROM ledgerx.accounts WHERE tenant_id = tenant)
        WHERE tenant_id = tenant;
    END LOOP;
    PERFORM set_config('ledgerx.tenant', '', true);
END
$$;

GRANT UPDATE (accounts) ON ledgerx.heads TO ledgerx_api;

RESET ROLE;
