-- Lists with filters. Each look reads a bounded number of rows of one index, newest first, and the filters are tried on
-- those: under row-level security most of them could not be index conditions anyway. What is equal stands in a range of
-- rows where the planner could otherwise read the primary key backwards and filter.

-- name: bounds
-- The numbers of the last entries before two moments, of which the first may be before all, and the second after all.
SELECT
    CASE
        WHEN %(recorded_from)s::timestamptz IS NULL THEN 0
        ELSE ledgerx.last_seq_at(tenant_id, %(recorded_from)s::timestamptz - interval '1 microsecond')
    END,
    CASE
        WHEN %(recorded_to)s::timestamptz IS NULL THEN seq
        ELSE ledgerx.last_seq_at(tenant_id, %(recorded_to)s::timestamptz - interval '1 microsecond')
    END
FROM ledgerx.heads
WHERE tenant_id = %(tenant_id)s;

-- name: accounts_in_ranges
-- At most so many accounts with codes in ranges, of an owner where one is said.
SELECT a.account_id
FROM unnest(%(lows)b::text [], %(highs)b::text []) AS wanted (low, high)
CROSS JOIN LATERAL (
    (
        SELECT account_id FROM ledgerx.accounts
        WHERE tenant_id = %(tenant_id)s AND code >= wanted.low AND code < wanted.high AND %(owner)s::text IS NULL
        ORDER BY code
        LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT account_id FROM ledgerx.accounts
        WHERE tenant_id = %(tenant_id)s AND owner IS NOT NULL AND (owner, code) >= (%(owner)s, wanted.low)
            AND (owner, code) < (%(owner)s, wanted.high)
        ORDER BY owner, code
        LIMIT %(limit)s
    )
) AS a
LIMIT %(limit)s;

-- name: newest_of_accounts
-- The newest entries with postings of accounts.
SELECT DISTINCT p.seq
FROM unnest(%(account_ids)b::bigint []) AS wanted (account_id)
CROSS JOIN LATERAL (
    SELECT DISTINCT account_id, seq FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s
        AND (account_id, seq) < (wanted.account_id, %(before)s::bigint)
        AND (account_id, seq) > (wanted.account_id, %(after)s::bigint)
    ORDER BY account_id DESC, seq DESC
    LIMIT %(limit)s
) AS p
ORDER BY p.seq DESC
LIMIT %(limit)s;

-- name: newest_with_reference
-- The newest entries with a reference.
SELECT seq FROM ledgerx.entries
WHERE tenant_id = %(tenant_id)s
    AND reference IS NOT NULL
    AND (reference, seq) < (%(reference)s, %(before)s::bigint) AND (reference, seq) > (%(reference)s, %(after)s::bigint)
ORDER BY reference DESC, seq DESC
LIMIT %(limit)s;

-- name: newest_of_kind
-- The newest transactions of a kind other than `post`.
SELECT seq FROM ledgerx.entries
WHERE tenant_id = %(tenant_id)s AND kind <> 'post'
    AND (kind, seq) < (%(kind)s, %(before)s::bigint) AND (kind, seq) > (%(kind)s, %(after)s::bigint)
ORDER BY kind DESC, seq DESC
LIMIT %(limit)s;

-- name: newest_of_category
-- The newest transactions that are or were of a category, given at first or by an amendment.
SELECT e.seq
FROM (
    (
        SELECT seq FROM ledgerx.entries
        WHERE tenant_id = %(tenant_id)s AND category IS NOT NULL
            AND (category, seq) < (%(category)s, %(before)s::bigint)
            AND (category, seq) > (%(category)s, %(after)s::bigint)
        ORDER BY category DESC, seq DESC
        LIMIT %(limit)s
    )
    UNION
    (
        SELECT seq FROM ledgerx.search_terms
        WHERE tenant_id = %(tenant_id)s AND subject = 'category' AND key = '' AND value = %(category)s
            AND seq < %(before)s AND seq > %(after)s
        ORDER BY seq DESC
        LIMIT %(limit)s
    )
) AS e
ORDER BY e.seq DESC
LIMIT %(limit)s;

-- name: newest_with_metadata
-- The newest transactions that have or had a member of metadata.
SELECT seq FROM ledgerx.search_terms
WHERE tenant_id = %(tenant_id)s AND subject = 'transaction' AND key = %(key)s AND value = %(value)s
    AND seq < %(before)s AND seq > %(after)s
ORDER BY seq DESC
LIMIT %(limit)s;

-- name: codes_with_metadata
-- At most so many codes of accounts that have or had a member of metadata.
SELECT a.code
FROM (
    SELECT seq FROM ledgerx.search_terms
    WHERE tenant_id = %(tenant_id)s AND subject = 'account' AND key = %(key)s AND value = %(value)s
    ORDER BY seq
    LIMIT %(limit)s
) AS found
CROSS JOIN LATERAL (
    SELECT code FROM ledgerx.accounts WHERE tenant_id = %(tenant_id)s AND account_id = found.seq OFFSET 0
) AS a;

-- name: fitting_entries
-- Those of the entries with these numbers that are transactions and fit as they are at the entry `known`, by filters
-- other than those of accounts and amounts; newest first. What is near one another is found at once.
-- Amendments are looked up only where a filter asks for what they change.
SELECT e.seq
FROM (
    SELECT seq, category, metadata
    FROM ledgerx.entries
    WHERE tenant_id = %(tenant_id)s AND seq = any(%(seqs)b::bigint []) AND change IS NULL AND kind <> 'amend'
        AND (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(reference)s::text IS NULL OR reference = %(reference)s)
        AND (
            %(effective_from)s::timestamptz IS NULL
            OR CASE WHEN effective_at IS NULL THEN recorded_at ELSE effective_at END >= %(effective_from)s
        )
        AND (
            %(effective_to)s::timestamptz IS NULL
            OR CASE WHEN effective_at IS NULL THEN recorded_at ELSE effective_at END < %(effective_to)s
        )
    OFFSET 0
) AS e
LEFT JOIN LATERAL (
    SELECT seq, category, metadata
    FROM ledgerx.latest_amendment(%(tenant_id)s, e.seq, %(known)s)
    WHERE %(category)s::text IS NOT NULL OR %(metadata)s::jsonb IS NOT NULL
) AS amended ON true
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN amended.seq IS NULL THEN e.category ELSE amended.category END AS category,
        CASE WHEN amended.seq IS NULL THEN e.metadata ELSE amended.metadata END AS metadata
) AS now
WHERE (%(category)s::text IS NULL OR now.category = %(category)s)
    AND (%(metadata)s::jsonb IS NULL OR now.metadata::jsonb @> %(metadata)s::jsonb)
ORDER BY e.seq DESC
LIMIT %(limit)s;

-- name: entries_with_fitting_postings
-- Those of the entries with these numbers that have a posting of such an account and amount, and of an owner where one
-- is said; newest first. Accounts are said by their ids, or by ranges of their codes, and looked up only where a filter
-- asks for what the posting does not tell.
SELECT DISTINCT p.seq
FROM (
    SELECT seq, account_id, abs(amount) AS amount
    FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s AND seq = any(%(seqs)b::bigint [])
        AND (%(account_ids)b::bigint [] IS NULL OR account_id = any(%(account_ids)b::bigint []))
        -- No asset has a negative scale: what is too small in its smallest units is too small.
        AND (%(amount_from)s::numeric IS NULL OR abs(amount) >= %(amount_from)s::numeric)
    OFFSET 0
) AS p
LEFT JOIN LATERAL (
    SELECT code, scale, owner FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id = p.account_id
        AND (
            %(owner)s::text IS NOT NULL OR %(lows)b::text [] IS NOT NULL OR %(amount_from)s::numeric IS NOT NULL
            OR %(amount_to)s::numeric IS NOT NULL
        )
    OFFSET 0
) AS a ON true
WHERE
    (
        %(lows)b::text [] IS NULL OR EXISTS (
            SELECT FROM unnest(%(lows)b::text [], %(highs)b::text []) AS range (low, high)
            WHERE a.code >= range.low AND a.code < range.high
        )
    )
    AND (%(owner)s::text IS NULL OR a.owner = %(owner)s)
    AND (%(amount_from)s::numeric IS NULL OR p.amount >= %(amount_from)s::numeric * 10::numeric ^ a.scale)
    AND (%(amount_to)s::numeric IS NULL OR p.amount <= %(amount_to)s::numeric * 10::numeric ^ a.scale)
ORDER BY p.seq DESC
LIMIT %(limit)s;

-- name: accounts_in_order
-- So many accounts after a code in the order of their codes, in ranges and of an owner where one is said, and of these
-- the ones that fit; each row begins with the last code looked at and whether there may be more.
WITH looked AS (
    SELECT a.*
    FROM unnest(%(lows)b::text [], %(highs)b::text []) AS wanted (low, high)
    CROSS JOIN LATERAL (
        (
            SELECT * FROM ledgerx.accounts
            WHERE tenant_id = %(tenant_id)s AND code >= wanted.low AND code < wanted.high AND code > %(after)s
                AND %(owner)s::text IS NULL
            ORDER BY code
            LIMIT %(looks)s
        )
        UNION ALL
        (
            SELECT * FROM ledgerx.accounts
            WHERE tenant_id = %(tenant_id)s AND owner IS NOT NULL AND (owner, code) >= (%(owner)s, wanted.low)
                AND (owner, code) < (%(owner)s, wanted.high) AND (owner, code) > (%(owner)s, %(after)s)
            ORDER BY owner, code
            LIMIT %(looks)s
        )
    ) AS a
    ORDER BY a.code
    LIMIT %(looks)s
), fitting AS (
    SELECT * FROM looked
    WHERE (%(type)s::text IS NULL OR type = %(type)s)
        AND (%(asset)s::text IS NULL OR asset = %(asset)s)
        AND (%(status)s::text IS NULL OR status = %(status)s)
        AND (%(metadata)s::jsonb IS NULL OR metadata::jsonb @> %(metadata)s::jsonb)
    ORDER BY code
    LIMIT %(limit)s
)
SELECT
    edge.code, edge.looks = %(looks)s, f.account_id, f.code, f.asset, f.scale, f.type, f.status, f.min_balance,
    f.max_balance, f.seq, f.owner, f.metadata, f.opened_at
FROM (SELECT max(code) AS code, count(*) AS looks FROM looked) AS edge
LEFT JOIN fitting AS f ON true
ORDER BY f.code;
