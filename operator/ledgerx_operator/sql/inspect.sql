-- name: inspect
-- What an administrator's role may do, on which database, and whether changes can be streamed from it.
SELECT
    c.system_identifier::text, current_database()::text, current_user::text,
    r.rolsuper OR (r.rolcreaterole AND r.rolreplication),
    has_database_privilege(current_database(), 'CREATE'),
    current_setting('wal_level')
FROM pg_control_system() AS c CROSS JOIN pg_roles AS r
WHERE r.rolname = current_user;

-- name: measure
-- The size of the database, and the slot of it that is furthest behind: by how many bytes, whether it is read or lost.
SELECT pg_database_size(current_database()), s.lag_bytes, s.active, s.is_lost
FROM (SELECT pg_current_wal_lsn() AS lsn) AS now
LEFT JOIN LATERAL (
    SELECT
        coalesce(now.lsn - r.confirmed_flush_lsn, 0)::bigint AS lag_bytes, r.active,
        coalesce(r.wal_status = 'lost', false) AS is_lost
    FROM pg_replication_slots AS r
    WHERE r.database = current_database() AND r.plugin = 'pgoutput'
    ORDER BY r.confirmed_flush_lsn NULLS FIRST
    LIMIT 1
) AS s ON true;
