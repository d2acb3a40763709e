-- name: add
-- Adds to accounts, new ones start from nothing; returns what those that passed a mark held before.
WITH changed AS (
    INSERT INTO ledgerx.balances AS b (tenant_id, account_id, postings, posted, pending_debit, pending_credit, seq)
    SELECT %(tenant_id)s, change.*
    FROM unnest(
        %(account_id)s::bigint [], %(postings)s::bigint [], %(posted)s::numeric [], %(pending_debit)s::numeric [],
        %(pending_credit)s::numeric [], %(seq)s::bigint []
    ) AS change
    ON CONFLICT ON CONSTRAINT balances_pkey DO UPDATE
    SET postings = b.postings + excluded.postings, posted = b.posted + excluded.posted,
        pending_debit = b.pending_debit + excluded.pending_debit,
        pending_credit = b.pending_credit + excluded.pending_credit, seq = excluded.seq
    RETURNING
        new.account_id, new.postings AS postings_after, coalesce(old.postings, 0) AS postings,
        coalesce(old.posted, 0) AS posted, coalesce(old.pending_debit, 0) AS pending_debit,
        coalesce(old.pending_credit, 0) AS pending_credit
)
SELECT account_id, postings, posted, pending_debit, pending_credit
FROM changed
WHERE postings_after / %(postings_per_mark)s > postings / %(postings_per_mark)s;

-- name: insert_marks
-- The marks that a batch passed.
INSERT INTO ledgerx.marks (tenant_id, account_id, seq, line, postings, posted, pending_debit, pending_credit)
SELECT %(tenant_id)s, mark.*
FROM unnest(
    %(account_id)s::bigint [], %(seq)s::bigint [], %(line)s::smallint [], %(postings)s::bigint [],
    %(posted)s::numeric [], %(pending_debit)s::numeric [], %(pending_credit)s::numeric []
) AS mark;

-- name: clear
-- Deletes a tenant's balances and marks.
WITH gone AS (
    DELETE FROM ledgerx.marks WHERE tenant_id = %(tenant_id)s
)
DELETE FROM ledgerx.balances WHERE tenant_id = %(tenant_id)s;

-- name: make_shadow_balances
-- Room for balances computed anew.
CREATE TEMP TABLE shadow_balances (LIKE ledgerx.balances);

-- name: make_shadow_marks
-- Room for marks computed anew.
CREATE TEMP TABLE shadow_marks (LIKE ledgerx.marks);

-- name: fill_shadow_balances
-- The balances of the next 1,000 accounts from their postings up to an entry; tells the last of these accounts.
WITH page AS (
    SELECT account_id FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id > %(after)s
    ORDER BY account_id
    LIMIT 1000
), filled AS (
    INSERT INTO pg_temp.shadow_balances (tenant_id, account_id, postings, posted, pending_debit, pending_credit, seq)
    SELECT %(tenant_id)s, page.account_id, p.*
    FROM page
    CROSS JOIN LATERAL (
        SELECT
            count(*) AS postings, coalesce(sum(amount) FILTER (WHERE layer = 0), 0),
            coalesce(sum(amount) FILTER (WHERE layer = 1), 0), coalesce(sum(amount) FILTER (WHERE layer = 2), 0),
            max(seq)
        FROM ledgerx.postings
        WHERE tenant_id = %(tenant_id)s AND account_id = page.account_id AND seq <= %(last_seq)s
    ) AS p
    WHERE p.postings > 0
)
SELECT max(account_id) FROM page;

-- name: fill_shadow_marks
-- The marks of the next 1,000 accounts.
WITH page AS (
    SELECT account_id FROM ledgerx.accounts
    WHERE tenant_id = %(tenant_id)s AND account_id > %(after)s
    ORDER BY account_id
    LIMIT 1000
)
INSERT INTO pg_temp.shadow_marks (
    tenant_id, account_id, seq, line, postings, posted, pending_debit, pending_credit
)
SELECT %(tenant_id)s, page.account_id, p.*
FROM page
INNER JOIN pg_temp.shadow_balances AS b ON b.account_id = page.account_id AND b.postings >= %(postings_per_mark)s
CROSS JOIN LATERAL (
    SELECT
        seq, line, row_number() OVER upto AS postings, coalesce(sum(amount) FILTER (WHERE layer = 0) OVER upto, 0),
        coalesce(sum(amount) FILTER (WHERE layer = 1) OVER upto, 0),
        coalesce(sum(amount) FILTER (WHERE layer = 2) OVER upto, 0)
    FROM ledgerx.postings
    WHERE tenant_id = %(tenant_id)s AND account_id = page.account_id AND seq <= %(last_seq)s
    WINDOW upto AS (ORDER BY seq, line)
) AS p
WHERE p.postings %% %(postings_per_mark)s = 0;

-- name: install_shadow
-- Makes what was computed anew the balances and marks.
WITH marks AS (
    INSERT INTO ledgerx.marks SELECT * FROM pg_temp.shadow_marks
)
INSERT INTO ledgerx.balances SELECT * FROM pg_temp.shadow_balances;
