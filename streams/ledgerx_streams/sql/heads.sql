-- name: find
-- Where a projection stands.
SELECT seq, hash FROM ledgerx.projections WHERE tenant_id = %(tenant_id)s AND projection = %(projection)s;

-- name: begin
-- The head of a projection that holds nothing yet.
INSERT INTO ledgerx.projections (tenant_id, projection, seq, hash)
VALUES (%(tenant_id)s, %(projection)s, %(seq)s, %(hash)s)
ON CONFLICT ON CONSTRAINT projections_pkey DO NOTHING;

-- name: advance
-- Moves a head on to what the journal holds, from where the caller believes it to be, and locks it for the transaction.
UPDATE ledgerx.projections SET seq = %(seq)s, hash = %(hash)s
WHERE tenant_id = %(tenant_id)s AND projection = %(projection)s AND seq = %(seq_before)s AND hash = %(hash_before)s
    AND EXISTS (
        SELECT FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = %(seq)s AND hash = %(hash)s
    )
RETURNING seq;

-- name: place
-- Puts a head to where a projection begins anew, and locks it until the transaction ends.
INSERT INTO ledgerx.projections (tenant_id, projection, seq, hash)
VALUES (%(tenant_id)s, %(projection)s, %(seq)s, %(hash)s)
ON CONFLICT ON CONSTRAINT projections_pkey DO UPDATE SET seq = excluded.seq, hash = excluded.hash;

-- name: journal_head
-- Where the journal stands.
SELECT seq, hash FROM ledgerx.heads WHERE tenant_id = %(tenant_id)s;

-- name: flush
-- Brings the log to the disk, and with it all that was committed before without waiting for that.
SELECT set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'ledgerx.heartbeat', '');
