-- Which tenants a projection was left behind of can be asked: one that needs more than the database is made up for.
-- depends: 0021.checkpoint_retention

SET ROLE ledgerx_owner;

-- What looks across tenants says so, as the function does: the owner too sees one tenant otherwise.
CREATE POLICY left_behind ON ledgerx.heads FOR SELECT TO ledgerx_owner
USING ((SELECT current_setting('ledgerx.across_tenants', true)) = 'projections');
CREATE POLICY left_behind ON ledgerx.projections FOR SELECT TO ledgerx_owner
USING ((SELECT current_setting('ledgerx.across_tenants', true)) = 'projections');
CREATE POLICY left_behind ON ledgerx.entries FOR SELECT TO ledgerx_owner
USING ((SELECT current_setting('ledgerx.across_tenants', true)) = 'projections');

-- At most so many tenants, and the last entry of each, of which a projection lacks an entry that was recorded so many
-- seconds ago; by chance, so that those which cannot be helped do not stand before the others.
CREATE FUNCTION ledgerx.left_behind(name text, patience_s double precision, most integer)
RETURNS TABLE (tenant_id uuid, seq bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    PERFORM set_config('ledgerx.across_tenants', 'projections', true);
    RETURN QUERY
    SELECT h.tenant_id, h.seq
    FROM ledgerx.heads AS h
    LEFT JOIN ledgerx.projections AS p ON p.tenant_id = h.tenant_id AND p.projection = name
    CROSS JOIN LATERAL (
        SELECT e.recorded_at FROM ledgerx.entries AS e
        WHERE e.tenant_id = h.tenant_id AND e.seq = coalesce(p.seq, 0) + 1
        OFFSET 0
    ) AS lacking
    WHERE h.seq > coalesce(p.seq, 0) AND lacking.recorded_at < now() - make_interval(secs => patience_s)
    ORDER BY random() LIMIT least(most, 1000);
    PERFORM set_config('ledgerx.across_tenants', '', true);
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.left_behind (text, double precision, integer) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.left_behind (text, double precision, integer) TO ledgerx_streams;

RESET ROLE;
