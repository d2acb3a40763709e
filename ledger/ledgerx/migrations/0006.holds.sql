-- Holds, reversals and amendments; accounts that can be changed and have an owner.
-- depends: 0005.feed

SET ROLE ledgerx_owner;

ALTER TABLE ledgerx.entries ADD COLUMN target_seq bigint, ADD COLUMN expires_at timestamptz;
ALTER TABLE ledgerx.entries DROP CONSTRAINT entries_kind_check, DROP CONSTRAINT entries_change_check;
ALTER TABLE ledgerx.entries
ADD CONSTRAINT entries_kind_check CHECK (
    kind IN (
        'post', 'hold', 'capture', 'release', 'expire', 'reverse', 'amend', 'open_account', 'update_account',
        'close_account'
    )
) NOT VALID,
ADD CONSTRAINT entries_change_check CHECK (
    (kind IN ('open_account', 'update_account', 'close_account')) = (change IS NOT NULL)
) NOT VALID,
ADD CONSTRAINT entries_target_check CHECK (
    (kind IN ('capture', 'release', 'expire', 'reverse', 'amend')) = (target_seq IS NOT NULL) AND target_seq < seq
) NOT VALID,
ADD CONSTRAINT entries_expires_check CHECK (expires_at IS NULL OR kind = 'hold') NOT VALID;
CREATE INDEX entries_target ON ledgerx.entries (tenant_id, target_seq, seq) WHERE target_seq IS NOT NULL;
-- The latest amendment of a transaction, however often it was reversed in parts.
CREATE INDEX entries_amendments ON ledgerx.entries (tenant_id, target_seq, seq) WHERE kind = 'amend';
-- A hold is resolved at most once, whatever the engine believed.
CREATE UNIQUE INDEX entries_resolution ON ledgerx.entries (tenant_id, target_seq)
WHERE kind IN ('capture', 'release', 'expire');

-- A capture of a hold of 1,000 lines has 2,000: those that it takes off the pending layers and those that it posts.
ALTER TABLE ledgerx.postings DROP CONSTRAINT postings_line_check;
ALTER TABLE ledgerx.postings ADD CONSTRAINT postings_line_check CHECK (line BETWEEN 0 AND 1999) NOT VALID;

ALTER TABLE ledgerx.accounts ADD COLUMN owner text COLLATE "C";
CREATE INDEX accounts_owner ON ledgerx.accounts (tenant_id, owner, code) WHERE owner IS NOT NULL;
GRANT UPDATE (owner, metadata) ON ledgerx.accounts TO ledgerx_api;

-- The holds that nothing has resolved yet, owned by the engine.
CREATE TABLE ledgerx.open_holds (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL,
    expires_at timestamptz,
    CONSTRAINT open_holds_pkey PRIMARY KEY (tenant_id, seq)
);
-- Whoever expires holds looks for due ones of all tenants at once, many times a minute.
CREATE INDEX open_holds_due ON ledgerx.open_holds (expires_at, tenant_id, seq) WHERE expires_at IS NOT NULL;
ALTER TABLE ledgerx.open_holds ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledgerx.open_holds FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON ledgerx.open_holds USING (tenant_id = (SELECT ledgerx.current_tenant()));
GRANT SELECT, INSERT, DELETE ON ledgerx.open_holds TO ledgerx_api;

-- The holds that are past their time, the oldest first: numbers only, of every tenant.
CREATE POLICY due ON ledgerx.open_holds FOR SELECT TO ledgerx_owner USING (true);
CREATE FUNCTION ledgerx.due_holds(most integer) RETURNS TABLE (tenant_id uuid, seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
BEGIN ATOMIC
    SELECT h.tenant_id, h.seq FROM ledgerx.open_holds AS h
    WHERE h.expires_at <= now() ORDER BY h.expires_at LIMIT least(most, 1000);
END;
REVOKE EXECUTE ON FUNCTION ledgerx.due_holds (integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.due_holds (integer) TO ledgerx_api;

RESET ROLE;
