-- name: summary
-- Posted debits and credits of days, grouped: the projection and the postings after it, in one statement.
WITH head AS (
    SELECT h.seq, h.recorded_at, t.time_zone, CASE WHEN s.seq IS NULL THEN 0 ELSE s.seq END AS projected
    FROM ledgerx.heads AS h
    INNER JOIN ledgerx.tenants AS t ON t.tenant_id = %(tenant_id)s
    LEFT JOIN ledgerx.projections AS s ON s.tenant_id = %(tenant_id)s AND s.projection = 'volumes'
    WHERE h.tenant_id = %(tenant_id)s
), volumes AS (
    SELECT account_id, day, category, debits, credits, postings
    FROM ledgerx.daily_volumes
    WHERE tenant_id = %(tenant_id)s AND day >= %(since)s AND day < %(until)s AND %(lows)b::text [] IS NULL
    UNION ALL
    SELECT v.account_id, v.day, v.category, v.debits, v.credits, v.postings
    FROM unnest(%(lows)b::text [], %(highs)b::text []) AS wanted (low, high)
    CROSS JOIN LATERAL (
        SELECT account_id FROM ledgerx.accounts
        WHERE tenant_id = %(tenant_id)s AND code >= wanted.low AND code < wanted.high
        OFFSET 0
    ) AS a
    CROSS JOIN LATERAL (
        SELECT * FROM ledgerx.daily_volumes
        WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id AND day >= %(since)s AND day < %(until)s
        OFFSET 0
    ) AS v
    UNION ALL
    SELECT p.account_id, e.day, e.category, greatest(p.amount, 0), greatest(-p.amount, 0), 1
    FROM head
    CROSS JOIN LATERAL (
        SELECT * FROM ledgerx.postings WHERE tenant_id = %(tenant_id)s AND seq > head.projected AND layer = 0 OFFSET 0
    ) AS p
    CROSS JOIN LATERAL (
        SELECT
            (CASE WHEN effective_at IS NULL THEN recorded_at ELSE effective_at END AT TIME ZONE head.time_zone)::date
                AS day,
            CASE WHEN category IS NULL THEN '' ELSE category END COLLATE "C" AS category
        FROM ledgerx.entries
        WHERE tenant_id = %(tenant_id)s AND seq = p.seq
        OFFSET 0
    ) AS e
    CROSS JOIN LATERAL (
        SELECT code FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND account_id = p.account_id OFFSET 0
    ) AS a
    WHERE e.day >= %(since)s AND e.day < %(until)s
        AND (
            %(lows)b::text [] IS NULL OR EXISTS (
                SELECT FROM unnest(%(lows)b::text [], %(highs)b::text []) AS range (low, high)
                WHERE a.code >= range.low AND a.code < range.high
            )
        )
), by_account AS (
    SELECT
        account_id,
        CASE WHEN %(by_category)s THEN category END AS category,
        CASE %(period)s::text
            WHEN 'day' THEN day
            WHEN 'week' THEN date_trunc('week', day::timestamp)::date
            WHEN 'month' THEN date_trunc('month', day::timestamp)::date
        END AS period,
        sum(debits) AS debits, sum(credits) AS credits, sum(postings) AS postings
    FROM volumes
    GROUP BY 1, 2, 3
), groups AS (
    SELECT
        a.asset, a.scale, g.period, CASE WHEN %(by_account)s THEN a.code END AS code, g.category,
        sum(g.debits) AS debits, sum(g.credits) AS credits, sum(g.postings)::bigint AS postings
    FROM by_account AS g
    CROSS JOIN LATERAL (
        SELECT asset, scale, code FROM ledgerx.accounts
        WHERE tenant_id = %(tenant_id)s AND account_id = g.account_id
        OFFSET 0
    ) AS a
    WHERE g.postings <> 0
    GROUP BY 1, 2, 3, 4, 5
    ORDER BY 1, 3, 4, 5
    LIMIT %(limit)s
)
SELECT
    head.seq, head.recorded_at, head.time_zone, g.asset, g.scale, g.period, g.code, g.category, g.debits, g.credits,
    g.postings
FROM head
LEFT JOIN groups AS g ON true
ORDER BY 4, 6, 7, 8;
