-- Whether members may record transactions that take from their own accounts.
-- depends: 0008.registries

SET ROLE ledgerx_owner;

ALTER TABLE ledgerx.tenants ADD COLUMN members_may_post boolean NOT NULL DEFAULT false;

RESET ROLE;
