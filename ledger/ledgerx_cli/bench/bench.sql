-- name: heads
-- A tenant's id, the seq of its journal and the seq that all of its projections have reached.
SELECT tenants.tenant_id, heads.seq, coalesce(min(projections.seq), 0)
FROM ledgerx.tenants
INNER JOIN ledgerx.heads ON tenants.tenant_id = heads.tenant_id
LEFT JOIN ledgerx.projections ON tenants.tenant_id = projections.tenant_id
WHERE tenants.name = %(tenant)s
GROUP BY tenants.tenant_id, heads.seq;

-- name: checkpoint
-- Every measured run begins just after a checkpoint, so that each pays alike for full-page images in the log.
CHECKPOINT;

-- name: storage
-- Bytes of the journal and of the outbox, indexes included, and of all write-ahead log ever written.
SELECT
    pg_total_relation_size('ledgerx.entries') + pg_total_relation_size('ledgerx.postings'),
    (SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('ledgerx.outbox') WHERE isleaf),
    (pg_current_wal_insert_lsn() - '0/0')::bigint;

-- name: create_scratch
-- Copies of the tables that a post writes, with their checks and indexes but no row-level security and no triggers.
DROP SCHEMA IF EXISTS ledgerx_bench CASCADE;
CREATE SCHEMA ledgerx_bench;
CREATE TABLE ledgerx_bench.heads (LIKE ledgerx.heads INCLUDING ALL);
CREATE TABLE ledgerx_bench.entries (LIKE ledgerx.entries INCLUDING ALL);
CREATE TABLE ledgerx_bench.postings (LIKE ledgerx.postings INCLUDING ALL);
CREATE TABLE ledgerx_bench.outbox (LIKE ledgerx.outbox INCLUDING ALL);

-- name: drop_scratch
-- Leaves no trace of the copies.
DROP SCHEMA IF EXISTS ledgerx_bench CASCADE;
