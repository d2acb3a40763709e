-- name: balance_at
-- An account's sums as known at a recorded time and in effect at an effective time; a null time does not restrict.
SELECT a.code, a.asset, a.scale, a.type, sums.posted, sums.pending_debit, sums.pending_credit, known.seq, e.recorded_at
FROM ledgerx.accounts AS a
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN %(as_of)s::timestamptz IS NULL THEN seq ELSE ledgerx.last_seq_at(tenant_id, %(as_of)s) END AS seq
    FROM ledgerx.heads
    WHERE tenant_id = %(tenant_id)s
    OFFSET 0
) AS known
CROSS JOIN LATERAL ledgerx.sums_at(%(tenant_id)s, a.account_id, %(effective_at)s::timestamptz, known.seq) AS sums
LEFT JOIN LATERAL (
    SELECT recorded_at FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = known.seq OFFSET 0
) AS e ON true
WHERE a.tenant_id = %(tenant_id)s AND a.code = %(code)s AND (%(owner)s::text IS NULL OR a.owner = %(owner)s);

-- name: totals
-- By asset and type, the sums of the accounts (an owner's, where one is said) whose codes lie in ranges, right at the
-- journal's head.
WITH head AS (
    SELECT h.seq, h.recorded_at, CASE WHEN s.seq IS NULL THEN 0 ELSE s.seq END AS projected
    FROM ledgerx.heads AS h
    LEFT JOIN ledgerx.projections AS s ON s.tenant_id = %(tenant_id)s AND s.projection = 'balances'
    WHERE h.tenant_id = %(tenant_id)s
), parts AS (
    SELECT a.account_id, a.asset, a.scale, a.type, b.posted, b.pending_debit, b.pending_credit
    FROM unnest(%(lows)b::text [], %(highs)b::text []) AS wanted (low, high)
    CROSS JOIN LATERAL (
        SELECT account_id, asset, scale, type FROM ledgerx.accounts
        WHERE tenant_id = %(tenant_id)s AND code >= wanted.low AND code < wanted.high AND %(owner)s::text IS NULL
        UNION ALL
        SELECT account_id, asset, scale, type FROM ledgerx.accounts
        WHERE tenant_id = %(tenant_id)s AND owner IS NOT NULL AND (owner, code) >= (%(owner)s, wanted.low)
            AND (owner, code) < (%(owner)s, wanted.high)
        OFFSET 0
    ) AS a
    LEFT JOIN LATERAL (
        SELECT * FROM ledgerx.balances WHERE tenant_id = %(tenant_id)s AND account_id = a.account_id OFFSET 0
    ) AS b ON true
    UNION ALL
    SELECT
        a.account_id, a.asset, a.scale, a.type,
        CASE p.layer WHEN 0 THEN p.amount END, CASE p.layer WHEN 1 THEN p.amount END,
        CASE p.layer WHEN 2 THEN p.amount END
    FROM head
    -- By their entries: the planner would rather skip through the postings of every account.
    CROSS JOIN LATERAL (
        SELECT seq FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq > head.projected OFFSET 0
    ) AS e
    CROSS JOIN LATERAL (
        SELECT * FROM ledgerx.postings WHERE tenant_id = %(tenant_id)s AND seq = e.seq OFFSET 0
    ) AS p
    CROSS JOIN LATERAL (
        SELECT * FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND account_id = p.account_id OFFSET 0
    ) AS a
    INNER JOIN unnest(%(lows)b::text [], %(highs)b::text []) AS wanted (low, high)
        ON a.code >= wanted.low AND a.code < wanted.high
    WHERE (%(owner)s::text IS NULL OR a.owner = %(owner)s)
), by_account AS (
    SELECT
        asset, scale, type, coalesce(sum(posted), 0) AS posted, coalesce(sum(pending_debit), 0) AS pending_debit,
        coalesce(sum(pending_credit), 0) AS pending_credit
    FROM parts
    GROUP BY account_id, asset, scale, type
), totals AS (
    SELECT
        asset, scale, type, count(*) AS accounts, sum(posted) AS posted, sum(pending_debit) AS pending_debit,
        sum(pending_credit) AS pending_credit, coalesce(sum(posted) FILTER (WHERE posted > 0), 0) AS debits
    FROM by_account
    GROUP BY asset, scale, type
)
SELECT
    head.seq, head.recorded_at, totals.asset, totals.scale, totals.type, totals.accounts, totals.debits,
    totals.posted, totals.pending_debit, totals.pending_credit
FROM head
LEFT JOIN totals ON true
ORDER BY totals.asset, totals.type;
