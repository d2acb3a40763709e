-- name: feed
-- The head, and the outbox rows with the entries after a number, in order: as many as fit, and one more. One statement,
-- and so one moment: nothing of it can still be overtaken.
SELECT h.seq, page.first_seq, page.payload
FROM ledgerx.heads AS h
LEFT JOIN LATERAL (
    SELECT sized.first_seq, sized.payload
    FROM (
        SELECT o.first_seq, o.payload,
            sum(octet_length(o.payload)) OVER (ORDER BY o.last_seq) - octet_length(o.payload) AS bytes_before
        FROM (
            SELECT first_seq, last_seq, payload
            FROM ledgerx.outbox
            WHERE tenant_id = %(tenant_id)s AND last_seq > %(after)s AND aggregatetype = 'journal'
            ORDER BY last_seq
            LIMIT %(limit)s
        ) AS o
    ) AS sized
    WHERE sized.bytes_before < %(max_bytes)s
) AS page ON true
WHERE h.tenant_id = %(tenant_id)s
ORDER BY page.first_seq;

-- name: head_seqs
-- How far the journals of some tenants are; unknown ones are left out.
SELECT tenant_id, seq FROM ledgerx.head_seqs(%(tenant_ids)s);

-- name: integrity
-- The head with each projection: where it stands, the journal's hash there, and since when the next entry waits for it.
SELECT
    h.seq, h.hash, h.recorded_at, s.projection, s.seq, s.hash, reached.hash, following.recorded_at, now()
FROM ledgerx.heads AS h
LEFT JOIN ledgerx.projections AS s ON s.tenant_id = %(tenant_id)s
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = s.seq OFFSET 0
) AS reached ON true
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = s.seq + 1 OFFSET 0
) AS following ON true
WHERE h.tenant_id = %(tenant_id)s
ORDER BY s.projection;
