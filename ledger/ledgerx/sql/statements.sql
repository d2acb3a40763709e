-- An account's lines of a period by time of effect or by time of recording. `dated` postings have an effective time of
-- their own. Periods are from the first moment to before the second.

-- name: boundaries
-- The account, the entry that the statement is true at (the head, or that of the pages before), the last entries up to
-- that one recorded before the period and before its end, opening and closing.
SELECT
    a.account_id, a.code, a.asset, a.scale, a.type, known.seq, at.begin_seq, at.end_seq,
    opening.posted + coalesce(opening_shift.posted, 0),
    opening.pending_debit + coalesce(opening_shift.pending_debit, 0),
    opening.pending_credit + coalesce(opening_shift.pending_credit, 0),
    closing.posted + coalesce(closing_shift.posted, 0),
    closing.pending_debit + coalesce(closing_shift.pending_debit, 0),
    closing.pending_credit + coalesce(closing_shift.pending_credit, 0)
FROM ledgerx.accounts AS a
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN %(seq)s::bigint IS NULL THEN seq ELSE least(seq, %(seq)s) END AS seq,
        %(since)s::timestamptz - interval '1 microsecond' AS before_begin,
        %(until)s::timestamptz - interval '1 microsecond' AS before_end
    FROM ledgerx.heads
    WHERE tenant_id = %(tenant_id)s
    OFFSET 0
) AS known
CROSS JOIN LATERAL (
    SELECT
        least(known.seq, ledgerx.last_seq_at(%(tenant_id)s, known.before_begin)) AS begin_seq,
        least(known.seq, ledgerx.last_seq_at(%(tenant_id)s, known.before_end)) AS end_seq
    OFFSET 0
) AS at
CROSS JOIN LATERAL ledgerx.sums_upto(%(tenant_id)s, a.account_id, at.begin_seq) AS opening
CROSS JOIN LATERAL ledgerx.sums_upto(%(tenant_id)s, a.account_id, at.end_seq) AS closing
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.dated_shift(%(tenant_id)s, a.account_id, known.before_begin, at.begin_seq, known.seq)
    WHERE %(by_effect)s
    OFFSET 0
) AS opening_shift ON true
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.dated_shift(%(tenant_id)s, a.account_id, known.before_end, at.end_seq, known.seq)
    WHERE %(by_effect)s
    OFFSET 0
) AS closing_shift ON true
WHERE a.tenant_id = %(tenant_id)s AND a.code = %(code)s AND (%(owner)s::text IS NULL OR a.owner = %(owner)s);

-- name: lines_by_recording
-- The next lines of the period in the order of recording, with their annotations as amended by the entry `seq`.
SELECT
    p.seq, p.line, p.layer, p.amount, e.kind, e.recorded_at, e.effective_at, e.reference,
    CASE WHEN n.seq IS NULL THEN e.category ELSE n.category END,
    CASE WHEN n.seq IS NULL THEN e.description ELSE n.description END
FROM (
    SELECT seq, line, layer, amount
    FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s AND account_id = %(account_id)s
        AND seq > %(begin_seq)s::bigint AND seq <= %(end_seq)s::bigint
        AND (seq, line) > (%(after_seq)s::bigint, %(after_line)s::smallint)
    ORDER BY seq, line
    LIMIT %(limit)s
) AS p
CROSS JOIN LATERAL (
    SELECT * FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = p.seq OFFSET 0
) AS e
LEFT JOIN LATERAL ledgerx.latest_amendment(%(tenant_id)s, p.seq, %(seq)s) AS n ON true
ORDER BY p.seq, p.line;

-- name: lines_by_effect
-- The next lines of the period in the order of effect. At most `looks` postings are looked at for those that are not
-- dated; where these are used up, the lines reach no further than the last of them, the edge.
WITH bounds AS (
    -- Before the first line it is the beginning of the period.
    SELECT
        CASE
            WHEN %(after_seq)s::bigint = 0 THEN %(begin_seq)s::bigint
            ELSE ledgerx.last_seq_at(%(tenant_id)s, %(after_at)s::timestamptz - interval '1 microsecond')
        END AS earlier,
        CASE
            WHEN %(after_seq)s::bigint = 0 THEN %(begin_seq)s::bigint
            ELSE ledgerx.last_seq_at(%(tenant_id)s, %(after_at)s::timestamptz)
        END AS through
    OFFSET 0
), looked AS (
    SELECT p.*, e.recorded_at
    FROM bounds
    CROSS JOIN LATERAL (
        SELECT seq, line, layer, amount, effective_at
        FROM ledgerx.postings
        WHERE tenant_id = %(tenant_id)s AND account_id = %(account_id)s
            AND seq <= %(end_seq)s::bigint
            AND (seq, line) > (
                -- What was recorded at the very time of the last line comes after it if its number does.
                CASE
                    WHEN %(after_seq)s::bigint > bounds.through THEN bounds.through
                    WHEN %(after_seq)s::bigint > bounds.earlier THEN %(after_seq)s::bigint
                    ELSE bounds.earlier
                END,
                CASE
                    WHEN %(after_seq)s::bigint > bounds.through THEN 32767::smallint
                    WHEN %(after_seq)s::bigint > bounds.earlier THEN %(after_line)s::smallint
                    ELSE 32767::smallint
                END
            )
        ORDER BY seq, line
        LIMIT %(looks)s
    ) AS p
    CROSS JOIN LATERAL (
        SELECT recorded_at FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = p.seq OFFSET 0
    ) AS e
), size AS (
    SELECT count(*) AS looks FROM looked
), edge AS (
    SELECT looked.recorded_at AS at, looked.seq, looked.line
    FROM size
    INNER JOIN looked ON size.looks = %(looks)s
    ORDER BY looked.seq DESC, looked.line DESC
    LIMIT 1
), lines AS (
    SELECT seq, line, layer, amount, recorded_at AS at FROM looked WHERE effective_at IS NULL
    UNION ALL
    SELECT p.seq, p.line, p.layer, p.amount, p.effective_at
    FROM (
        SELECT seq, line, layer, amount, effective_at
        FROM ledgerx.postings
        WHERE tenant_id = %(tenant_id)s AND account_id = %(account_id)s AND effective_at < 'infinity'
            AND (effective_at, seq, line)
                > (%(after_at)s::timestamptz, %(after_seq)s::bigint, %(after_line)s::smallint)
            AND effective_at < %(until)s::timestamptz AND seq <= %(seq)s
        ORDER BY effective_at, seq, line
        LIMIT %(limit)s
    ) AS p
), page AS (
    SELECT lines.*
    FROM lines
    LEFT JOIN edge ON true
    WHERE edge.seq IS NULL OR (lines.at, lines.seq, lines.line) <= (edge.at, edge.seq, edge.line)
    ORDER BY lines.at, lines.seq, lines.line
    LIMIT %(limit)s
)
SELECT
    page.seq, page.line, page.layer, page.amount, e.kind, e.recorded_at, e.effective_at, e.reference,
    CASE WHEN n.seq IS NULL THEN e.category ELSE n.category END,
    CASE WHEN n.seq IS NULL THEN e.description ELSE n.description END,
    edge.at, edge.seq, edge.line
FROM size
LEFT JOIN edge ON size.looks = %(looks)s
LEFT JOIN page ON true
LEFT JOIN LATERAL (
    SELECT * FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND seq = page.seq OFFSET 0
) AS e ON true
LEFT JOIN LATERAL ledgerx.latest_amendment(%(tenant_id)s, page.seq, %(seq)s) AS n ON true
ORDER BY page.at, page.seq, page.line;
