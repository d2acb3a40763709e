-- name: summary
-- Posted debits and credits of days, grouped: the projection and the postings after it, in one statement. An owner's
-- accounts are those in ranges, of which there are some then. Each row ends with the number of volumes that were read,
-- which is one too many where there are more than `most`.
WITH head AS (
    SELECT h.seq, h.recorded_at, t.time_zone, CASE WHEN s.seq IS NULL THEN 0 ELSE s.seq END AS projected
    FROM ledgerx.heads AS h
    INNER JOIN ledgerx.tenants AS t ON t.tenant_id = %(tenant_id)s
    LEFT JOIN ledgerx.projections AS s ON s.tenant_id = %(tenant_id)s AND s.projection = 'volumes'
    WHERE h.tenant_id = %(tenant_id)s
), touched AS (
    -- Transactions after the projection count as they are now; earlier ones that were amended after it move from the
    -- category that the projection knows to the present one.
    SELECT e.seq, 1 AS times, 9223372036854775807 AS known
    FROM head
    CROSS JOIN LATERAL (
        SELECT seq FROM ledgerx.entries
        WHERE tenant_id = %(tenant_id)s AND seq > head.projected AND change IS NULL AND kind <> 'amend'
        OFFSET 0
    ) AS e
    UNION ALL
    SELECT e.target_seq, move.times, CASE move.times WHEN 1 THEN 9223372036854775807 ELSE head.projected END
    FROM head
    CROSS JOIN LATERAL (
        SELECT DISTINCT target_seq FROM ledgerx.entries
        WHERE tenant_id = %(tenant_id)s AND seq > head.projected AND kind = 'amend' AND target_seq <= head.projected
    ) AS e
    CROSS JOIN (VALUES (1), (-1)) AS move (times)
), volumes AS (
    (
        SELECT account_id, day, category, debits, credits, postings
        FROM ledgerx.daily_volumes
        WHERE tenant_id = %(tenant_id)s AND day >= %(since)s AND day < %(until)s AND %(lows)b::text [] IS NULL
            AND %(owner)s::text IS NULL
        LIMIT %(most)s + 1
    )
    UNION ALL
    (
        SELECT v.account_id, v.day, v.category, v.debits, v.credits, v.postings
        FROM unnest(%(lows)b::text [], %(highs)b::text []) AS wanted (low, high)
        CROSS JOIN LATERAL (
            SELECT account_id FROM ledgerx.accounts
            WHERE tenant_id = %(tenant_id)s AND code >= wanted.low AND code < wanted.high AND %(owner)s::text IS NULL
            UNION ALL
            SELECT account_id FROM ledgerx.accounts
            WHERE tenant_id = %(tenant_id)s AND owner IS NOT NULL AND (owner, code) >= (%(owner)s, wanted.low)
                AND (owner, code) < (%(owner)s, wanted.high)
            OFFSET 0
        ) AS a
        CROSS JOIN LATERAL (
            SELECT * FROM ledgerx.daily_volumes
            WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id AND day >= %(since)s AND day < %(until)s
            OFFSET 0
        ) AS v
        LIMIT %(most)s + 1
    )
    UNION ALL
    SELECT
        p.account_id, e.day,
        coalesce(CASE WHEN amended.seq IS NULL THEN e.category ELSE amended.category COLLATE "C" END, ''),
        greatest(p.amount, 0) * t.times, greatest(-p.amount, 0) * t.times, t.times
    FROM head
    CROSS JOIN touched AS t
    CROSS JOIN LATERAL (
        SELECT
            category COLLATE "C",
            (CASE WHEN effective_at IS NULL THEN recorded_at ELSE effective_at END AT TIME ZONE head.time_zone)::date
                AS day
        FROM ledgerx.entries
        WHERE tenant_id = %(tenant_id)s AND seq = t.seq
        OFFSET 0
    ) AS e
    LEFT JOIN LATERAL ledgerx.latest_amendment(%(tenant_id)s, t.seq, t.known) AS amended ON true
    CROSS JOIN LATERAL (
        SELECT account_id, amount FROM ledgerx.postings
        WHERE tenant_id = %(tenant_id)s AND seq = t.seq AND layer = 0
        OFFSET 0
    ) AS p
    CROSS JOIN LATERAL (
        SELECT code, owner FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND account_id = p.account_id OFFSET 0
    ) AS a
    WHERE e.day >= %(since)s AND e.day < %(until)s
        AND (
            %(lows)b::text [] IS NULL OR EXISTS (
                SELECT FROM unnest(%(lows)b::text [], %(highs)b::text []) AS range (low, high)
                WHERE a.code >= range.low AND a.code < range.high
            )
        )
        AND (%(owner)s::text IS NULL OR a.owner = %(owner)s)
), by_account AS (
    SELECT
        account_id,
        CASE WHEN %(by_category)s THEN category END AS grouped_category,
        CASE %(period)s::text
            WHEN 'day' THEN day
            WHEN 'week' THEN date_trunc('week', day::timestamp)::date
            WHEN 'month' THEN date_trunc('month', day::timestamp)::date
        END AS first_day,
        sum(debits) AS debits, sum(credits) AS credits, sum(postings) AS postings,
        count(*) AS volumes
    FROM volumes
    GROUP BY account_id, grouped_category, first_day
), groups AS (
    SELECT
        a.asset, a.scale, g.first_day, CASE WHEN %(by_account)s THEN a.code END AS grouped_code, g.grouped_category,
        sum(g.debits) AS debits, sum(g.credits) AS credits, sum(g.postings)::bigint AS postings
    FROM by_account AS g
    CROSS JOIN LATERAL (
        SELECT asset, scale, code FROM ledgerx.accounts
        WHERE tenant_id = %(tenant_id)s AND account_id = g.account_id
        OFFSET 0
    ) AS a
    WHERE g.postings <> 0
    GROUP BY a.asset, a.scale, g.first_day, grouped_code, g.grouped_category
    ORDER BY a.asset, g.first_day, grouped_code, g.grouped_category
    LIMIT %(limit)s
)
SELECT
    head.seq, head.recorded_at, head.time_zone, g.asset, g.scale, g.first_day, g.grouped_code, g.grouped_category,
    g.debits, g.credits, g.postings, size.volumes
FROM head
CROSS JOIN (SELECT coalesce(sum(volumes), 0)::bigint AS volumes FROM by_account) AS size
LEFT JOIN groups AS g ON true
ORDER BY g.asset, g.first_day, g.grouped_code, g.grouped_category;
