-- The past of both times from marks and versions of blocks; rare kinds by an index; earlier search terms.
-- depends: 0011.trusted_issuers

SET ROLE ledgerx_owner;

-- Lists ask for the other kinds, which are few, and for `post`, which is nearly all there is.
CREATE INDEX entries_kind ON ledgerx.entries (tenant_id, kind, seq) WHERE kind <> 'post';

-- Sums of an account's postings read this index and no row: those of an ordinary account are far apart.
CREATE UNIQUE INDEX postings_account_sums ON ledgerx.postings (tenant_id, account_id, seq, line)
INCLUDE (layer, amount);
DROP INDEX ledgerx.postings_account;
ALTER INDEX ledgerx.postings_account_sums RENAME TO postings_account;
DROP INDEX ledgerx.postings_dated_effective, ledgerx.postings_dated;
CREATE INDEX postings_dated_effective ON ledgerx.postings (tenant_id, account_id, effective_at, seq, line)
INCLUDE (layer, amount) WHERE effective_at < 'infinity';
CREATE INDEX postings_dated ON ledgerx.postings (tenant_id, account_id, seq, line)
INCLUDE (layer, amount, effective_at) WHERE effective_at > '-infinity';

-- What the latest amendment of a transaction up to an entry made of its annotations; no row where there is none.
CREATE FUNCTION ledgerx.latest_amendment(tenant uuid, target bigint, upto bigint DEFAULT 9223372036854775807)
RETURNS TABLE (seq bigint, category text, description text, metadata text)
LANGUAGE sql STABLE ROWS 1
AS $$
    SELECT seq, category, description, metadata
    FROM ledgerx.entries
    WHERE tenant_id = tenant AND target_seq = target AND kind = 'amend' AND seq <= upto
    ORDER BY seq DESC
    LIMIT 1
$$;

-- How far each tenant's journal is known to have its search terms. Entries recorded before there were any have none:
-- `ledgerx migrate` goes on from here.
CREATE TABLE ledgerx.search_heads (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL,
    CONSTRAINT search_heads_pkey PRIMARY KEY (tenant_id)
);
ALTER TABLE ledgerx.search_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledgerx.search_heads FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON ledgerx.search_heads USING (tenant_id = (SELECT ledgerx.current_tenant()));

-- What follows changes what the streams keep of dated postings. It shares a head with the volumes, so both begin anew:
-- the streams fill them from the journal's tables, and until then reads add up the postings.
TRUNCATE ledgerx.daily_volumes, ledgerx.dated_marks, ledgerx.dated_tails, ledgerx.dated_blocks;
DO $$
DECLARE
    tenant uuid;
BEGIN
    FOR tenant IN SELECT tenant_id FROM ledgerx.tenants LOOP
        PERFORM set_config('ledgerx.tenant', tenant::text, true);
        DELETE FROM ledgerx.projections WHERE tenant_id = tenant AND projection = 'volumes';
    END LOOP;
    PERFORM set_config('ledgerx.tenant', '', true);
END
$$;
DROP FUNCTION ledgerx.dated_sums_upto (uuid, bigint, bigint);
DROP FUNCTION ledgerx.dated_sums_in_effect (uuid, bigint, timestamptz, bigint);

-- The dated postings of an account are counted in the order of recording. A mark stands at every 1,000th of them, and
-- is called by that number: a posting belongs to the last mark before it, 0 before the first.
ALTER TABLE ledgerx.dated_marks DROP COLUMN posted, DROP COLUMN pending_debit, DROP COLUMN pending_credit;
ALTER TABLE ledgerx.dated_tails DROP COLUMN posted, DROP COLUMN pending_debit, DROP COLUMN pending_credit;
-- `mark` is that of the block's latest posting.
ALTER TABLE ledgerx.dated_blocks DROP COLUMN last_seq, ADD COLUMN mark bigint NOT NULL;
-- Which blocks a sum needs is found in the index alone: there may be thousands, and it takes a few.
ALTER TABLE ledgerx.dated_blocks DROP CONSTRAINT dated_blocks_pkey;
ALTER TABLE ledgerx.dated_blocks ADD CONSTRAINT dated_blocks_pkey
PRIMARY KEY (tenant_id, account_id, effective_at, seq, line) INCLUDE (mark, first_seq);

-- What a block's sums were before its first posting that belongs to a mark after `mark`. Blocks are cut in the order of
-- effect, marks in that of recording: with these a block's sums are known at each mark.
CREATE TABLE ledgerx.dated_versions (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    effective_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    line smallint NOT NULL,
    mark bigint NOT NULL,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    CONSTRAINT dated_versions_pkey PRIMARY KEY (tenant_id, account_id, effective_at, seq, line, mark)
);
ALTER TABLE ledgerx.dated_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledgerx.dated_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON ledgerx.dated_versions USING (tenant_id = (SELECT ledgerx.current_tenant()));
GRANT SELECT ON ledgerx.dated_versions TO ledgerx_api;
GRANT SELECT, INSERT, DELETE ON ledgerx.dated_versions TO ledgerx_streams;

-- An account's last mark of dated postings up to an entry; one called 0 before all postings where there is none.
CREATE FUNCTION ledgerx.last_dated_mark(tenant uuid, account bigint, upto bigint)
RETURNS TABLE (mark bigint, seq bigint, line smallint)
LANGUAGE sql STABLE ROWS 1
AS $$
    SELECT
        CASE WHEN m.seq IS NULL THEN 0 ELSE m.postings END,
        CASE WHEN m.seq IS NULL THEN 0 ELSE m.seq END,
        CASE WHEN m.seq IS NULL THEN 0::smallint ELSE m.line END
    FROM (SELECT) AS one
    LEFT JOIN LATERAL (
        SELECT postings, seq, line FROM ledgerx.dated_marks
        WHERE tenant_id = tenant AND account_id = account AND seq <= upto
        ORDER BY seq DESC, line DESC
        LIMIT 1
    ) AS m ON true
$$;

-- What has to be added to an account's sums of all that is recorded up to the entry `by_then`, to get those of what is
-- recorded up to `upto` and takes effect at or before `moment`, which is when `by_then` was recorded or later: what was
-- dated back since, less what is dated later.
--
-- That is: dated postings up to `upto` and in effect, less dated postings up to `by_then`. Both are sums at the last
-- mark before, and of the postings after that, fewer than 1,000 where the streams keep up. At a mark a block has a
-- version; only the block that `moment` falls into is read posting by posting.
CREATE FUNCTION ledgerx.dated_shift(tenant uuid, account bigint, moment timestamptz, by_then bigint, upto bigint)
RETURNS TABLE (posted numeric, pending_debit numeric, pending_credit numeric)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    early record;
    late record;
    own record;
    following record;
BEGIN
    SELECT m.mark, m.seq, m.line INTO early FROM ledgerx.last_dated_mark(tenant, account, by_then) AS m;
    SELECT m.mark, m.seq, m.line INTO late FROM ledgerx.last_dated_mark(tenant, account, upto) AS m;
    SELECT b.effective_at, b.seq, b.line INTO own
    FROM ledgerx.dated_blocks AS b
    WHERE b.tenant_id = tenant AND b.account_id = account AND b.effective_at <= moment
    ORDER BY b.effective_at DESC, b.seq DESC, b.line DESC
    LIMIT 1;
    SELECT b.effective_at, b.seq, b.line INTO following
    FROM ledgerx.dated_blocks AS b
    WHERE b.tenant_id = tenant AND b.account_id = account AND b.effective_at > moment
    ORDER BY b.effective_at, b.seq, b.line
    LIMIT 1;
    RETURN QUERY
    WITH parts AS (
        -- Blocks in effect that changed between the marks, and later ones that had postings at the first.
        SELECT
            at.sign,
            CASE WHEN b.mark < at.mark THEN b.posted ELSE v.posted END AS posted,
            CASE WHEN b.mark < at.mark THEN b.pending_debit ELSE v.pending_debit END AS pending_debit,
            CASE WHEN b.mark < at.mark THEN b.pending_credit ELSE v.pending_credit END AS pending_credit
        FROM (
            SELECT k.effective_at, k.seq, k.line
            FROM ledgerx.dated_blocks AS k
            WHERE k.tenant_id = tenant AND k.account_id = account AND early.mark < late.mark
                AND (k.effective_at, k.seq, k.line) < (own.effective_at, own.seq, own.line) AND k.mark >= early.mark
            UNION ALL
            SELECT k.effective_at, k.seq, k.line
            FROM ledgerx.dated_blocks AS k
            WHERE k.tenant_id = tenant AND k.account_id = account AND k.effective_at > moment
                AND k.first_seq <= early.seq
        ) AS key
        CROSS JOIN LATERAL (
            SELECT * FROM ledgerx.dated_blocks AS k
            WHERE k.tenant_id = tenant AND k.account_id = account AND k.effective_at = key.effective_at
                AND k.seq = key.seq AND k.line = key.line
            OFFSET 0
        ) AS b
        INNER JOIN (VALUES (1, late.mark), (-1, early.mark)) AS at (sign, mark)
            ON b.effective_at <= moment OR at.sign < 0
        LEFT JOIN LATERAL (
            SELECT old.posted, old.pending_debit, old.pending_credit
            FROM ledgerx.dated_versions AS old
            WHERE old.tenant_id = tenant AND old.account_id = account AND old.effective_at = b.effective_at
                AND old.seq = b.seq AND old.line = b.line AND old.mark < at.mark AND b.mark >= at.mark
            ORDER BY old.mark DESC
            LIMIT 1
        ) AS v ON true
        UNION ALL
        SELECT
            p.sign,
            CASE p.layer WHEN 0 THEN p.amount END,
            CASE p.layer WHEN 1 THEN p.amount END,
            CASE p.layer WHEN 2 THEN p.amount END
        FROM (
            SELECT
                o.layer, o.amount,
                CASE
                    WHEN (o.seq, o.line) > (early.seq, early.line) THEN
                        CASE
                            WHEN o.effective_at <= moment AND (o.seq, o.line) <= (late.seq, late.line) THEN 1 ELSE 0
                        END
                    ELSE CASE WHEN o.effective_at <= moment THEN 0 ELSE -1 END
                END AS sign
            FROM ledgerx.postings AS o
            WHERE o.tenant_id = tenant AND o.account_id = account AND o.effective_at < 'infinity'
                AND (o.effective_at, o.seq, o.line) >= (own.effective_at, own.seq, own.line)
                AND (o.effective_at, o.seq, o.line) < (
                    CASE WHEN following.seq IS NULL THEN 'infinity'::timestamptz ELSE following.effective_at END,
                    CASE WHEN following.seq IS NULL THEN 0 ELSE following.seq END,
                    CASE WHEN following.seq IS NULL THEN 0::smallint ELSE following.line END
                )
                AND o.seq <= late.seq
            UNION ALL
            SELECT o.layer, o.amount, -1
            FROM ledgerx.postings AS o
            WHERE o.tenant_id = tenant AND o.account_id = account AND o.effective_at > '-infinity'
                AND (o.seq, o.line) > (early.seq, early.line) AND o.seq <= by_then
            UNION ALL
            SELECT o.layer, o.amount, 1
            FROM ledgerx.postings AS o
            WHERE o.tenant_id = tenant AND o.account_id = account AND o.effective_at > '-infinity'
                AND (o.seq, o.line) > (late.seq, late.line) AND o.seq <= upto AND o.effective_at <= moment
        ) AS p
        WHERE p.sign <> 0
    )
    SELECT
        coalesce(sum(parts.sign * parts.posted), 0), coalesce(sum(parts.sign * parts.pending_debit), 0),
        coalesce(sum(parts.sign * parts.pending_credit), 0)
    FROM parts;
END
$$;

-- An account's sums of what is recorded up to an entry and takes effect at or before a moment; null is any moment. What
-- has no effective time of its own takes effect when it is recorded.
CREATE OR REPLACE FUNCTION ledgerx.sums_at(tenant uuid, account bigint, moment timestamptz, upto bigint)
RETURNS TABLE (posted numeric, pending_debit numeric, pending_credit numeric)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    by_then bigint;
BEGIN
    IF moment IS NULL THEN
        RETURN QUERY SELECT * FROM ledgerx.sums_upto(tenant, account, upto);
    ELSE
        by_then := least(upto, ledgerx.last_seq_at(tenant, moment));
        RETURN QUERY
        SELECT
            a.posted + s.posted, a.pending_debit + s.pending_debit, a.pending_credit + s.pending_credit
        FROM ledgerx.sums_upto(tenant, account, by_then) AS a
        CROSS JOIN ledgerx.dated_shift(tenant, account, moment, by_then, upto) AS s;
    END IF;
END
$$;

RESET ROLE;
