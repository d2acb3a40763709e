-- Balances count an account's postings, and its marks are made of them: one projection where there were two.
-- depends: 0001.journal

SET ROLE ledgerx_owner;

-- Each entry is applied once, and so both begin anew: the streams fill them from the journal's tables.
TRUNCATE ledgerx.projections, ledgerx.balances, ledgerx.marks;
DROP TABLE ledgerx.mark_tails;

ALTER TABLE ledgerx.balances
ADD COLUMN postings bigint NOT NULL,
ADD CONSTRAINT balances_postings_check CHECK (postings > 0);

-- How many postings there are from one mark to the next is the kernel's to say.
ALTER TABLE ledgerx.marks
DROP CONSTRAINT marks_postings_check,
ADD CONSTRAINT marks_postings_check CHECK (postings > 0);

RESET ROLE;
