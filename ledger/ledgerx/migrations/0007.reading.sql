-- What reads at any time and by any filter stand on: points in time, own effective times, volumes, search terms.
-- depends: 0006.holds

SET ROLE ledgerx_owner;

-- The number of the last entry recorded at or before a moment; 0 where there is none. Within a tenant recorded_at never
-- falls, so a binary search by the primary key finds it in some 20 look-ups and writes need no index by time.
CREATE FUNCTION ledgerx.last_seq_at(tenant uuid, moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    low bigint := 0;
    high bigint := (SELECT seq FROM ledgerx.heads WHERE tenant_id = tenant);
    middle bigint;
BEGIN
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF (SELECT recorded_at FROM ledgerx.entries WHERE tenant_id = tenant AND seq = middle) <= moment THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;

-- Postings with an effective time of their own, here called dated: in the order of effect, and in that of recording.
-- Both predicates are true of all of them. They differ so that a query fits one index only, and says which: with poor
-- statistics the planner takes both for equally good, and one of them reads all dated postings of the account.
CREATE INDEX postings_dated_effective ON ledgerx.postings (tenant_id, account_id, effective_at, seq, line)
WHERE effective_at < 'infinity';
CREATE INDEX postings_dated ON ledgerx.postings (tenant_id, account_id, seq, line) WHERE effective_at > '-infinity';

CREATE INDEX entries_reference ON ledgerx.entries (tenant_id, reference, seq) WHERE reference IS NOT NULL;
CREATE INDEX entries_category ON ledgerx.entries (tenant_id, category, seq) WHERE category IS NOT NULL;

-- What transactions and accounts can be found by beside their own columns: the top-level members of their metadata,
-- with canonical JSON as the value, and the categories that transactions were moved to. Written by the engine. A term
-- stays when it is no longer so: whoever finds something by it looks. The number of an account is its id.
CREATE TABLE ledgerx.search_terms (
    tenant_id uuid NOT NULL,
    subject text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    CONSTRAINT search_terms_pkey PRIMARY KEY (tenant_id, subject, key, value, seq),
    CONSTRAINT search_terms_subject_check CHECK (subject IN ('account', 'transaction', 'category'))
);

-- Written by the streams: posted debits and credits of an account by day of effect, in the tenant's time zone, and
-- category, which is empty where a transaction has none.
CREATE TABLE ledgerx.daily_volumes (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    day date NOT NULL,
    category text COLLATE "C" NOT NULL,
    debits numeric NOT NULL,
    credits numeric NOT NULL,
    postings bigint NOT NULL,
    CONSTRAINT daily_volumes_pkey PRIMARY KEY (tenant_id, account_id, day, category)
) WITH (fillfactor = 70);
CREATE INDEX daily_volumes_day ON ledgerx.daily_volumes (tenant_id, day, account_id, category);

-- Like marks, but of the account's dated postings alone; and how many these are, with their sums.
CREATE TABLE ledgerx.dated_marks (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    seq bigint NOT NULL,
    line smallint NOT NULL,
    postings bigint NOT NULL,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    CONSTRAINT dated_marks_pkey PRIMARY KEY (tenant_id, account_id, seq, line)
);
CREATE TABLE ledgerx.dated_tails (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    postings bigint NOT NULL,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    CONSTRAINT dated_tails_pkey PRIMARY KEY (tenant_id, account_id)
) WITH (fillfactor = 70);

-- An account's dated postings in the order of effect, cut into blocks of at most some 1,000. A block begins at its key
-- and ends before the next one's; first_seq and last_seq are the least and the greatest number in it.
CREATE TABLE ledgerx.dated_blocks (
    tenant_id uuid NOT NULL,
    account_id bigint NOT NULL,
    effective_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    line smallint NOT NULL,
    postings bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    posted numeric NOT NULL,
    pending_debit numeric NOT NULL,
    pending_credit numeric NOT NULL,
    CONSTRAINT dated_blocks_pkey PRIMARY KEY (tenant_id, account_id, effective_at, seq, line)
) WITH (fillfactor = 70);

-- An account's sums of all postings up to an entry: the nearest mark and the postings after it, fewer than 1,000 where
-- the streams keep up.
CREATE FUNCTION ledgerx.sums_upto(tenant uuid, account bigint, upto bigint)
RETURNS TABLE (posted numeric, pending_debit numeric, pending_credit numeric)
LANGUAGE sql STABLE
AS $$
    SELECT
        coalesce(m.posted, 0) + coalesce(t.posted, 0),
        coalesce(m.pending_debit, 0) + coalesce(t.pending_debit, 0),
        coalesce(m.pending_credit, 0) + coalesce(t.pending_credit, 0)
    FROM (SELECT) AS one
    LEFT JOIN LATERAL (
        SELECT * FROM ledgerx.marks
        WHERE tenant_id = tenant AND account_id = account AND seq <= upto
        ORDER BY seq DESC, line DESC
        LIMIT 1
    ) AS m ON true
    CROSS JOIN LATERAL (
        SELECT
            sum(amount) FILTER (WHERE layer = 0) AS posted,
            sum(amount) FILTER (WHERE layer = 1) AS pending_debit,
            sum(amount) FILTER (WHERE layer = 2) AS pending_credit
        FROM ledgerx.postings
        WHERE tenant_id = tenant AND account_id = account AND seq <= upto
            AND (seq, line) > (
                CASE WHEN m.seq IS NULL THEN 0 ELSE m.seq END,
                CASE WHEN m.line IS NULL THEN 0::smallint ELSE m.line END
            )
    ) AS t
$$;

-- The same of its dated postings alone.
CREATE FUNCTION ledgerx.dated_sums_upto(tenant uuid, account bigint, upto bigint)
RETURNS TABLE (posted numeric, pending_debit numeric, pending_credit numeric)
LANGUAGE sql STABLE
AS $$
    SELECT
        coalesce(m.posted, 0) + coalesce(t.posted, 0),
        coalesce(m.pending_debit, 0) + coalesce(t.pending_debit, 0),
        coalesce(m.pending_credit, 0) + coalesce(t.pending_credit, 0)
    FROM (SELECT) AS one
    LEFT JOIN LATERAL (
        SELECT * FROM ledgerx.dated_marks
        WHERE tenant_id = tenant AND account_id = account AND seq <= upto
        ORDER BY seq DESC, line DESC
        LIMIT 1
    ) AS m ON true
    CROSS JOIN LATERAL (
        SELECT
            sum(amount) FILTER (WHERE layer = 0) AS posted,
            sum(amount) FILTER (WHERE layer = 1) AS pending_debit,
            sum(amount) FILTER (WHERE layer = 2) AS pending_credit
        FROM ledgerx.postings
        WHERE tenant_id = tenant AND account_id = account AND effective_at > '-infinity' AND seq <= upto
            AND (seq, line) > (
                CASE WHEN m.seq IS NULL THEN 0 ELSE m.seq END,
                CASE WHEN m.line IS NULL THEN 0::smallint ELSE m.line END
            )
    ) AS t
$$;

-- An account's sums of its dated postings up to an entry that take effect at or before a moment. The last block that
-- begins by then is read posting by posting, and so is one with entries on both sides of `upto`; the others before it
-- count whole or not at all. What the streams have not put into blocks yet comes from the postings.
CREATE FUNCTION ledgerx.dated_sums_in_effect(tenant uuid, account bigint, moment timestamptz, upto bigint)
RETURNS TABLE (posted numeric, pending_debit numeric, pending_credit numeric)
LANGUAGE sql STABLE
AS $$
    WITH head AS (
        SELECT CASE WHEN s.seq IS NULL THEN 0 ELSE s.seq END AS seq
        FROM (SELECT) AS one
        LEFT JOIN ledgerx.projections AS s ON s.tenant_id = tenant AND s.projection = 'volumes'
    ), blocks AS (
        SELECT
            effective_at, seq, line, first_seq, last_seq, posted, pending_debit, pending_credit,
            lead(effective_at) OVER keys AS next_effective_at, lead(seq) OVER keys AS next_seq,
            lead(line) OVER keys AS next_line
        FROM ledgerx.dated_blocks
        WHERE tenant_id = tenant AND account_id = account AND effective_at <= moment
        WINDOW keys AS (ORDER BY effective_at, seq, line)
    ), parts AS (
        SELECT posted, pending_debit, pending_credit
        FROM blocks
        WHERE next_effective_at IS NOT NULL AND last_seq <= upto
        UNION ALL
        SELECT
            CASE p.layer WHEN 0 THEN p.amount END,
            CASE p.layer WHEN 1 THEN p.amount END,
            CASE p.layer WHEN 2 THEN p.amount END
        FROM blocks AS b
        CROSS JOIN head
        CROSS JOIN LATERAL (
            SELECT layer, amount
            FROM ledgerx.postings
            WHERE tenant_id = tenant AND account_id = account AND effective_at < 'infinity' AND effective_at <= moment
                AND (effective_at, seq, line) >= (b.effective_at, b.seq, b.line)
                AND (effective_at, seq, line) < (
                    CASE WHEN b.next_effective_at IS NULL THEN 'infinity'::timestamptz ELSE b.next_effective_at END,
                    CASE WHEN b.next_seq IS NULL THEN 0 ELSE b.next_seq END,
                    CASE WHEN b.next_line IS NULL THEN 0::smallint ELSE b.next_line END
                )
                AND seq <= least(upto, head.seq)
            OFFSET 0
        ) AS p
        WHERE b.next_effective_at IS NULL OR (b.first_seq <= upto AND b.last_seq > upto)
        UNION ALL
        SELECT
            CASE p.layer WHEN 0 THEN p.amount END,
            CASE p.layer WHEN 1 THEN p.amount END,
            CASE p.layer WHEN 2 THEN p.amount END
        FROM head
        CROSS JOIN LATERAL (
            SELECT layer, amount
            FROM ledgerx.postings
            WHERE tenant_id = tenant AND account_id = account AND effective_at > '-infinity' AND effective_at <= moment
                AND seq > head.seq AND seq <= upto
            OFFSET 0
        ) AS p
    )
    SELECT coalesce(sum(posted), 0), coalesce(sum(pending_debit), 0), coalesce(sum(pending_credit), 0) FROM parts
$$;

-- An account's sums of what is recorded up to an entry and takes effect at or before a moment; null is any moment. What
-- has no effective time of its own takes effect when it is recorded: all postings recorded by then, less the dated ones
-- among them, and the dated ones in effect.
CREATE FUNCTION ledgerx.sums_at(tenant uuid, account bigint, moment timestamptz, upto bigint)
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
            a.posted - d.posted + e.posted,
            a.pending_debit - d.pending_debit + e.pending_debit,
            a.pending_credit - d.pending_credit + e.pending_credit
        FROM ledgerx.sums_upto(tenant, account, by_then) AS a
        CROSS JOIN ledgerx.dated_sums_upto(tenant, account, by_then) AS d
        CROSS JOIN ledgerx.dated_sums_in_effect(tenant, account, moment, upto) AS e;
    END IF;
END
$$;

-- The zone that days are counted in is one that PostgreSQL knows: it raises an error for any other.
ALTER TABLE ledgerx.tenants ADD CONSTRAINT tenants_time_zone_check
CHECK (timezone(time_zone, '2000-01-01T00:00:00Z'::timestamptz) IS NOT NULL);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['search_terms', 'daily_volumes', 'dated_marks', 'dated_tails', 'dated_blocks'] LOOP
        EXECUTE format('ALTER TABLE ledgerx.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE ledgerx.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON ledgerx.%I USING (tenant_id = (SELECT ledgerx.current_tenant()))', name
        );
    END LOOP;
END
$$;

GRANT SELECT, INSERT ON ledgerx.search_terms TO ledgerx_api;
GRANT SELECT ON ledgerx.daily_volumes, ledgerx.dated_marks, ledgerx.dated_blocks TO ledgerx_api;
GRANT SELECT, INSERT, UPDATE, DELETE
ON ledgerx.daily_volumes, ledgerx.dated_marks, ledgerx.dated_tails, ledgerx.dated_blocks
TO ledgerx_streams;

RESET ROLE;
