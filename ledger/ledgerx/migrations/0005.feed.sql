-- The event feed reads the outbox by the journal's numbers, and old partitions of the outbox are dropped.
-- depends: 0004.quotas

SET ROLE ledgerx_owner;

-- Where a reader of the feed goes on; the partitions to come get it too.
CREATE INDEX outbox_last_seq ON ledgerx.outbox (tenant_id, last_seq);

-- How far the journals of some tenants are, in one statement. It may do nothing that its caller may not, and looks at
-- one tenant after the other, each within that tenant's scope. To be called as a transaction of its own.
CREATE FUNCTION ledgerx.head_seqs(tenant_ids uuid []) RETURNS TABLE (tenant_id uuid, seq bigint)
LANGUAGE plpgsql SET search_path = pg_catalog
AS $$
DECLARE
    one uuid;
BEGIN
    FOREACH one IN ARRAY tenant_ids LOOP
        PERFORM set_config('ledgerx.tenant', one::text, true);
        RETURN QUERY SELECT h.tenant_id, h.seq FROM ledgerx.heads AS h WHERE h.tenant_id = one;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.head_seqs (uuid []) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.head_seqs (uuid []) TO ledgerx_api;

-- Drops the oldest outbox partition that ended at least `keep_days` days ago, and returns its day; null if none may go.
--
-- It may go when the slot has confirmed a position of the write-ahead log after the last row of that day, and every
-- projection of every tenant is beyond the tenant's last row of that day. The first call that finds a day old enough
-- notes the log's position in the partition's comment, and later ones compare it with the slot's. A tenant without any
-- projection lags. A slot that is missing or lost will be made anew with a snapshot of all that is here.
--
-- The lock on the whole outbox stops all writers, so it is waited for a moment only: `lock_not_available` then.
CREATE FUNCTION ledgerx.drop_outbox_partition(keep_days integer, slot name) RETURNS date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
    position_now pg_lsn := pg_current_wal_lsn();
    partition record;
    oldest record;
    tenant uuid;
    last_seq bigint;
    reached bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ledgerx.outbox_partitions'));
    FOR partition IN
        SELECT c.relname AS name, to_date(right(c.relname, 8), 'YYYYMMDD') AS day,
            obj_description(c.oid, 'pg_class')::pg_lsn AS noted
        FROM pg_inherits AS i
        INNER JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'ledgerx.outbox'::regclass
        ORDER BY c.relname DESC
    LOOP
        CONTINUE WHEN (partition.day + 1 + greatest(keep_days, 1))::timestamp AT TIME ZONE 'UTC' > now();
        oldest := partition;
        -- A position that is still to come was noted in the log of another server, before a restore.
        IF coalesce(partition.noted > position_now, true) THEN
            EXECUTE format('COMMENT ON TABLE ledgerx.%I IS %L', partition.name, position_now);
        END IF;
    END LOOP;
    IF oldest IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_replication_slots AS s
        WHERE s.slot_name = slot AND s.database = current_database() AND s.wal_status <> 'lost'
            AND s.confirmed_flush_lsn >= oldest.noted AND oldest.noted <= position_now
    ) THEN
        RETURN NULL;
    END IF;
    FOR tenant IN SELECT t.tenant_id FROM ledgerx.tenants AS t LOOP
        EXECUTE format('SELECT max(o.last_seq) FROM ledgerx.%I AS o WHERE o.tenant_id = $1', oldest.name)
        INTO last_seq USING tenant;
        PERFORM set_config('ledgerx.tenant', tenant::text, true);
        SELECT min(p.seq) INTO reached FROM ledgerx.projections AS p WHERE p.tenant_id = tenant;
        IF last_seq > coalesce(reached, 0) THEN
            RETURN NULL;
        END IF;
    END LOOP;
    EXECUTE format('ALTER TABLE ledgerx.outbox DETACH PARTITION ledgerx.%I', oldest.name);
    EXECUTE format('DROP TABLE ledgerx.%I', oldest.name);
    RETURN oldest.day;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.drop_outbox_partition (integer, name) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.drop_outbox_partition (integer, name) TO ledgerx_relay;

RESET ROLE;
