-- name: slot
-- How a slot stands; no row if there is none.
SELECT
    wal_status = 'lost',
    active
FROM pg_replication_slots
WHERE slot_name = %(slot)s;

-- name: drop_slot
-- Gives up a slot and the log it holds.
SELECT pg_drop_replication_slot(%(slot)s);

-- name: keep_slot
-- Makes the permanent slot from the temporary one, at the very position where its snapshot ends.
SELECT pg_copy_logical_replication_slot(%(temporary)s, %(slot)s, false);

-- name: outbox_rows
-- Every row, in the order of recording within its tenant: heap order is not insert order.
SELECT
    id,
    tenant_id,
    aggregatetype,
    aggregateid,
    type,
    payload,
    traceparent,
    first_seq,
    last_seq
FROM ledgerx.outbox
ORDER BY tenant_id, first_seq, id;

-- name: heartbeat
-- Writes a position into the log that the stream has to pass, even when nothing else is written.
SELECT (pg_logical_emit_message(false, 'ledgerx.heartbeat', now()::text) - '0/0'::pg_lsn)::bigint;

-- name: lag
-- Bytes of log which the slot has not confirmed.
SELECT coalesce(max(pg_current_wal_lsn() - confirmed_flush_lsn), 0)::bigint
FROM pg_replication_slots
WHERE slot_name = %(slot)s;
