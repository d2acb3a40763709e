-- Every part may see which migrations a database has, and the streams what their projections lack.
-- depends: 0018.tenant_states

-- As whoever runs the migrations, whose tables these are.
GRANT USAGE ON SCHEMA ledgerx_migrations TO ledgerx_api, ledgerx_streams, ledgerx_relay;
GRANT SELECT ON ledgerx_migrations.checksums TO ledgerx_api, ledgerx_streams, ledgerx_relay;

SET ROLE ledgerx_owner;

-- The streams ask it where a tenant is, too.
GRANT EXECUTE ON FUNCTION ledgerx.head_seqs (uuid []) TO ledgerx_streams;

-- The next tenants after `after`, at most `most`: how far the journal of each is, and those of the projections `names`
-- that lack an entry of it which was recorded before `moment`. One that stopped at a fork is left out: its head is no
-- entry of this journal. To be called as a transaction of its own: it sets the current tenant.
CREATE FUNCTION ledgerx.projections_behind(after uuid, most integer, names text [], moment timestamptz)
RETURNS TABLE (tenant_id uuid, seq bigint, behind text [])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
DECLARE
    one uuid;
BEGIN
    FOR one IN
        SELECT t.tenant_id FROM ledgerx.tenants AS t
        WHERE t.tenant_id > after ORDER BY t.tenant_id LIMIT least(most, 1000)
    LOOP
        PERFORM set_config('ledgerx.tenant', one::text, true);
        RETURN QUERY SELECT one, coalesce(max(h.seq), 0), coalesce(array_agg(n.name) FILTER (WHERE EXISTS (
            SELECT FROM ledgerx.entries AS e
            WHERE e.tenant_id = one AND e.seq = coalesce(p.seq, 0) + 1 AND e.recorded_at < moment
        ) AND (coalesce(p.seq, 0) = 0 OR EXISTS (
            SELECT FROM ledgerx.entries AS e WHERE e.tenant_id = one AND e.seq = p.seq AND e.hash = p.hash
        ))), '{}')
        FROM ledgerx.heads AS h
        CROSS JOIN unnest(names) AS n (name)
        LEFT JOIN ledgerx.projections AS p ON p.tenant_id = one AND p.projection = n.name
        WHERE h.tenant_id = one AND coalesce(p.seq, 0) < h.seq;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.projections_behind (uuid, integer, text [], timestamptz) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.projections_behind (uuid, integer, text [], timestamptz) TO ledgerx_streams;

RESET ROLE;
