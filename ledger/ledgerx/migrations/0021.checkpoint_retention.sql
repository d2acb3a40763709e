-- Of old checkpoints the last of each day is kept: the streams drop the others.
-- depends: 0020.declared

SET ROLE ledgerx_owner;

-- Whether another checkpoint was signed later on the same day (UTC).
ALTER TABLE ledgerx.checkpoints ADD COLUMN superseded boolean NOT NULL DEFAULT false;
CREATE INDEX checkpoints_superseded ON ledgerx.checkpoints (signed_at, tenant_id, size) WHERE superseded;

DO $$
DECLARE
    tenant uuid;
BEGIN
    FOR tenant IN SELECT tenant_id FROM ledgerx.tenants LOOP
        PERFORM set_config('ledgerx.tenant', tenant::text, true);
        UPDATE ledgerx.checkpoints AS c SET superseded = true
        FROM (
            SELECT size, signed_at, lead(signed_at) OVER (ORDER BY size) AS next_at FROM ledgerx.checkpoints
            WHERE tenant_id = tenant
        ) AS n
        WHERE c.tenant_id = tenant AND c.size = n.size
            AND date_trunc('day', n.next_at, 'UTC') = date_trunc('day', n.signed_at, 'UTC');
    END LOOP;
    PERFORM set_config('ledgerx.tenant', '', true);
END
$$;

-- What looks across tenants says so, as the function does: the owner too sees one tenant otherwise.
CREATE POLICY superseded ON ledgerx.checkpoints TO ledgerx_owner
USING (superseded AND (SELECT current_setting('ledgerx.across_tenants', true)) = 'checkpoints');

-- Drops at most so many checkpoints, of any tenants, that were superseded and are older than so many days, a day at the
-- least; returns how many. Only these: whoever calls it can take away no other one.
CREATE FUNCTION ledgerx.thin_checkpoints(keep_days integer, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
AS $$
DECLARE
    dropped bigint;
BEGIN
    PERFORM set_config('ledgerx.across_tenants', 'checkpoints', true);
    DELETE FROM ledgerx.checkpoints AS c
    USING (
        SELECT s.tenant_id, s.size FROM ledgerx.checkpoints AS s
        WHERE s.superseded AND s.signed_at < now() - make_interval(days => greatest(keep_days, 1))
        ORDER BY s.signed_at LIMIT least(most, 10000)
        FOR UPDATE SKIP LOCKED
    ) AS old
    WHERE c.tenant_id = old.tenant_id AND c.size = old.size;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    PERFORM set_config('ledgerx.across_tenants', '', true);
    RETURN dropped;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.thin_checkpoints (integer, integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.thin_checkpoints (integer, integer) TO ledgerx_streams;
GRANT UPDATE (superseded) ON ledgerx.checkpoints TO ledgerx_streams;

RESET ROLE;
