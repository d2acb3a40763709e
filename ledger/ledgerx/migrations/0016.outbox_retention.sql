-- The streams drop old days of the outbox, whoever relays it, and what keeps a day beyond its time can be asked.
-- depends: 0012.reading_at_scale

SET ROLE ledgerx_owner;

-- The oldest outbox partition that ended at least `keep_days` days ago: its day, by how many days it is overdue, and
-- what keeps it: `slot`, a projection, or `projections` where a tenant has none; null if it may go. All null if there
-- is no such partition.
--
-- It may go when the slot has confirmed a position of the write-ahead log after the last row of that day, and every
-- projection of every tenant is beyond the tenant's last row of that day. The first call that finds a day old enough
-- notes the log's position in the partition's comment, and later ones compare it with the slot's. A slot that is
-- missing or lost will be made anew with a snapshot of all that is here.
CREATE FUNCTION ledgerx.overdue_outbox_day(
    keep_days integer, slot name, OUT day date, OUT overdue_days integer, OUT keeper text, OUT tenant_id uuid
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    position_now pg_lsn := pg_current_wal_lsn();
    last_day date := (now() AT TIME ZONE 'UTC')::date - greatest(keep_days, 1) - 1;
    partition record;
    noted pg_lsn;
    tenant uuid;
    last_seq bigint;
    behind record;
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
        CONTINUE WHEN partition.day > last_day;
        day := partition.day;
        noted := partition.noted;
        -- A position that is still to come was noted in the log of another server, before a restore.
        IF coalesce(noted > position_now, true) THEN
            noted := position_now;
            EXECUTE format('COMMENT ON TABLE ledgerx.%I IS %L', partition.name, position_now);
        END IF;
    END LOOP;
    IF day IS NULL THEN
        RETURN;
    END IF;
    overdue_days := last_day - day;
    IF NOT EXISTS (
        SELECT FROM pg_replication_slots AS s
        WHERE s.slot_name = slot AND s.database = current_database() AND s.wal_status <> 'lost'
            AND s.confirmed_flush_lsn >= noted
    ) THEN
        keeper := 'slot';
        RETURN;
    END IF;
    FOR tenant IN SELECT t.tenant_id FROM ledgerx.tenants AS t LOOP
        EXECUTE format(
            'SELECT max(o.last_seq) FROM ledgerx.%I AS o WHERE o.tenant_id = $1', 'outbox_' || to_char(day, 'YYYYMMDD')
        ) INTO last_seq USING tenant;
        CONTINUE WHEN last_seq IS NULL;
        PERFORM set_config('ledgerx.tenant', tenant::text, true);
        SELECT p.projection, p.seq INTO behind FROM ledgerx.projections AS p
        WHERE p.tenant_id = tenant ORDER BY p.seq, p.projection LIMIT 1;
        IF last_seq > coalesce(behind.seq, 0) THEN
            keeper := coalesce(behind.projection, 'projections');
            tenant_id := tenant;
            RETURN;
        END IF;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.overdue_outbox_day (integer, name) FROM public;
GRANT EXECUTE ON FUNCTION ledgerx.overdue_outbox_day (integer, name) TO ledgerx_streams;

-- Drops the oldest outbox partition that may go, and returns its day; null if none may.
--
-- The lock on the whole outbox stops all writers, so it is waited for a moment only: `lock_not_available` then.
CREATE OR REPLACE FUNCTION ledgerx.drop_outbox_partition(keep_days integer, slot name) RETURNS date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
    overdue record;
    partition name;
BEGIN
    overdue := ledgerx.overdue_outbox_day(keep_days, slot);
    IF overdue.day IS NULL OR overdue.keeper IS NOT NULL THEN
        RETURN NULL;
    END IF;
    partition := 'outbox_' || to_char(overdue.day, 'YYYYMMDD');
    EXECUTE format('ALTER TABLE ledgerx.outbox DETACH PARTITION ledgerx.%I', partition);
    EXECUTE format('DROP TABLE ledgerx.%I', partition);
    RETURN overdue.day;
END
$$;
REVOKE EXECUTE ON FUNCTION ledgerx.drop_outbox_partition (integer, name) FROM ledgerx_relay;
GRANT EXECUTE ON FUNCTION ledgerx.drop_outbox_partition (integer, name) TO ledgerx_streams;

RESET ROLE;
