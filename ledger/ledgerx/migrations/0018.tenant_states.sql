-- Who owns a tenant outside, whether it may be used, what it is limited to, and how it is removed for good.
-- depends: 0017.integrity

SET ROLE ledgerx_owner;

-- `owner` says which object declares the tenant: nobody else's declaration may take it over. A purged tenant's row
-- stays, so that its id is never used again.
ALTER TABLE ledgerx.tenants
ADD COLUMN owner text COLLATE "C",
ADD COLUMN state text NOT NULL DEFAULT 'active',
ADD COLUMN requests_per_second integer,
ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now(),
ADD CONSTRAINT tenants_owner_key UNIQUE (owner),
ADD CONSTRAINT tenants_state_check CHECK (state IN ('active', 'suspended', 'deleting', 'purged')),
ADD CONSTRAINT tenants_rate_check CHECK (requests_per_second > 0);
-- Every process of the API asks once a second what has changed.
CREATE INDEX tenants_changed ON ledgerx.tenants (changed_at, tenant_id);

-- Every batch reads the head, under its lock: from the commit of a suspension on nothing is recorded.
ALTER TABLE ledgerx.heads
ADD COLUMN suspended boolean NOT NULL DEFAULT false,
ADD COLUMN max_accounts bigint,
ADD CONSTRAINT heads_max_accounts_check CHECK (max_accounts > 0);

-- What the API has to know of tenants that are not as all others are, as far as it changed at or after a moment.
CREATE FUNCTION ledgerx.tenants_changed(since timestamptz)
RETURNS TABLE (tenant_id uuid, state text, requests_per_second integer, changed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT t.tenant_id, t.state, t.requests_per_second, t.changed_at FROM ledgerx.tenants AS t
    WHERE t.changed_at >= since
        AND (since > '-infinity' OR t.state <> 'active' OR t.requests_per_second IS NOT NULL);
END;
REVOKE EXECUTE ON FUNCTION ledgerx.tenants_changed (timestamptz) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.tenants_changed (timestamptz) TO ledgerx_api;

-- Holds of tenants that may not be used wait: nothing is recorded there.
CREATE OR REPLACE FUNCTION ledgerx.due_holds(most integer) RETURNS TABLE (tenant_id uuid, seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
BEGIN ATOMIC
    SELECT h.tenant_id, h.seq FROM ledgerx.open_holds AS h
    WHERE h.expires_at <= now()
        AND NOT EXISTS (SELECT FROM ledgerx.tenants AS t WHERE t.tenant_id = h.tenant_id AND t.state <> 'active')
    ORDER BY h.expires_at LIMIT least(most, 1000);
END;

-- How much each tenant holds, for the owner of the schema; to be called as a transaction of its own.
CREATE FUNCTION ledgerx.tenants_usage()
RETURNS TABLE (tenant_id uuid, accounts bigint, seq bigint, recorded_at timestamptz)
LANGUAGE plpgsql SET search_path = pg_catalog
AS $$
DECLARE
    one uuid;
BEGIN
    FOR one IN SELECT t.tenant_id FROM ledgerx.tenants AS t WHERE t.state <> 'purged' LOOP
        PERFORM set_config('ledgerx.tenant', one::text, true);
        RETURN QUERY SELECT h.tenant_id, h.accounts, h.seq, h.recorded_at FROM ledgerx.heads AS h
        WHERE h.tenant_id = one;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.tenants_usage () FROM public;

-- The journal stays append-only for everybody, but for the purge of a tenant that is being deleted: row-level security
-- lets the owner reach the rows of the current tenant and no others.
CREATE OR REPLACE FUNCTION ledgerx.refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF tg_op = 'DELETE' AND current_user = 'ledgerx_owner' AND EXISTS (
        SELECT FROM ledgerx.tenants WHERE tenant_id = ledgerx.current_tenant() AND state = 'deleting'
    ) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the journal is append-only: % on % refused', tg_op, tg_table_name
        USING ERRCODE = 'restrict_violation';
END
$$;

-- Removes at most `most` rows of a tenant that is being deleted and returns how many; 0 when none was left and only its
-- row in the registry remains, without a name or an owner. To be called as a transaction of its own, by the owner of
-- the schema: it sets the current tenant. Tables that point at others come first.
CREATE FUNCTION ledgerx.purge_tenant(wanted uuid, most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
DECLARE
    name text;
    removed integer;
    total integer := 0;
BEGIN
    PERFORM FROM ledgerx.tenants AS t WHERE t.tenant_id = wanted AND t.state = 'deleting' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tenant is not being deleted' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM set_config('ledgerx.tenant', wanted::text, true);
    FOR name IN
        SELECT c.relname FROM pg_class AS c
        INNER JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = 'ledgerx'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND c.relname <> 'tenants'
        ORDER BY EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'f') DESC, c.relname
    LOOP
        EXIT WHEN total >= most;
        EXECUTE format(
            'DELETE FROM ledgerx.%1$I AS t USING ('
            'SELECT ctid, tableoid FROM ledgerx.%1$I WHERE tenant_id = $1 LIMIT $2'
            ') AS d WHERE t.ctid = d.ctid AND t.tableoid = d.tableoid AND t.tenant_id = $1', name
        ) USING wanted, most - total;
        GET DIAGNOSTICS removed = ROW_COUNT;
        total := total + removed;
    END LOOP;
    IF total = 0 THEN
        UPDATE ledgerx.tenants
        SET state = 'purged', owner = NULL, name = 'purged/' || wanted::text, requests_per_second = NULL,
            changed_at = clock_timestamp()
        WHERE tenant_id = wanted;
    END IF;
    RETURN total;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.purge_tenant (uuid, integer) FROM public;

RESET ROLE;
