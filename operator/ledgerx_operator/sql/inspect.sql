-- name: inspect
-- What an administrator's role may do, on which database, and whether changes can be streamed from it.
SELECT
    c.system_identifier::text, current_database()::text, current_user::text,
    r.rolsuper OR (r.rolcreaterole AND r.rolreplication),
    has_database_privilege(current_database(), 'CREATE'),
    current_setting('wal_level')
FROM pg_control_system() AS c CROSS JOIN pg_roles AS r
WHERE r.rolname = current_user;
