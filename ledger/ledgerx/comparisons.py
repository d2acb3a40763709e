"""Verification of what is kept beside the journal and grows with it: volumes, dated postings in blocks, search terms.

Postgres compares, in pages of some thousand postings and with what the streams have reached at each: nothing here holds
more than a page, or a snapshot for longer than one takes.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from ledgerx import rows
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.journal import Entry

# What a page of volumes comes to, if no account has more of them in a day.
POSTINGS_PER_PAGE = 10_000
_LAST_ACCOUNT = 2**63 - 1

_queries = Queries("ledgerx", "sql/comparisons.sql")
Find = Callable[[int | None, str], None]


async def compare_volumes(connection: Connection, tenant_id: UUID, find: Find) -> None:
    """Compare the volumes of all accounts with their postings; `find` is told what is wrong."""
    after = 0
    while accounts := await _fetch(connection, tenant_id, _queries.accounts_to_compare, after=after):
        pages = list(_pages(accounts))
        # The last page of many may be but a part.
        for last, postings in pages[:-1] or pages:
            since: date | None = None
            while postings > POSTINGS_PER_PAGE and (until := await _next_day(connection, tenant_id, last, since)):
                await _compare_days(connection, tenant_id, find, after, last, since, until)
                since = until
            await _compare_days(connection, tenant_id, find, after, last, since, None)
            after = last
    await _compare_days(connection, tenant_id, find, after, _LAST_ACCOUNT, None, None)


def _pages(counted: Iterable[rows.Row]) -> Iterable[tuple[Any, int]]:
    """The last of as many as come to a page together, or of one that is more, and what they come to."""
    total, last = 0, None
    for key, postings in counted:
        if total and total + postings > POSTINGS_PER_PAGE:
            yield last, total
            total = 0
        total, last = total + postings, key
    yield last, total


async def _next_day(connection: Connection, tenant_id: UUID, account_id: int, since: date | None) -> date | None:
    """The day before which a page of an account's volumes ends; None where it is the last."""
    found = await _fetch(
        connection, tenant_id, _queries.days_to_compare, account_id=account_id, since=since or date.min
    )
    total = 0
    for row in found:
        day: date = row[0]
        if total > POSTINGS_PER_PAGE and day != since:
            return day
        total += row[1]
    return None


async def _compare_days(
    connection: Connection,
    tenant_id: UUID,
    find: Find,
    after: int,
    last: int,
    since: date | None,
    until: date | None,
) -> None:
    period = {"since": since, "until": until}
    wrong = await _fetch(connection, tenant_id, _queries.wrong_volumes, after=after, last=last, **period)
    for account_id, day, category in wrong:
        of = f'in the category "{category}"' if category else "without a category"
        find(None, f"the volumes of account {account_id} on {day} {of} differ from the sum of its postings")


async def compare_blocks(connection: Connection, tenant_id: UUID, find: Find) -> None:
    """Compare the blocks of dated postings, and their versions, with the postings; `find` is told what is wrong."""
    key: Sequence[Any] = (0, datetime.min.replace(tzinfo=UTC), 0, 0)
    while True:
        account_id, effective_at, seq, line = key
        after = {"account_id": account_id, "effective_at": effective_at, "seq": seq, "line": line}
        found = await _fetch(connection, tenant_id, _queries.wrong_blocks, **after)
        if not found:
            return
        for row in found:
            if row[4] is not None:
                what = f"the block of dated postings of account {row[4]} from {row[5]:%Y-%m-%dT%H:%M:%SZ}"
                find(None, f"{what} differs from its postings")
        key = found[0][:4]


class SearchTerms:
    """Compares the search terms with what the entries, fed in order, say that they are."""

    def __init__(self, connection: Connection, tenant_id: UUID, find: Find) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._find = find
        # Those of accounts cannot be found by the account in the journal: a number for each is remembered.
        self._of_accounts: set[int] = set()

    async def feed(self, entries: Sequence[Entry]) -> None:
        """Look for the terms of entries."""
        terms = rows.search_columns(entries)
        if not terms["seq"]:
            return
        self._of_accounts.update(
            hash(term) for term in zip(*terms.values(), strict=True) if term[0] == rows.ACCOUNT_TERM
        )
        for _, name, value, seq in await _fetch(self._connection, self._tenant_id, _queries.missing_terms, **terms):
            self._find(seq, f"{_term(name, value)} is missing")

    async def compare(self, head_seq: int) -> None:
        """Look at all terms for those that no entry explains; those up to the entry `head_seq` were fed."""
        key: Sequence[Any] = ("", "", "", 0)
        while True:
            after = dict(zip(("subject", "key", "value", "seq"), key, strict=True))
            found = await _fetch(self._connection, self._tenant_id, _queries.terms_after, **after)
            if not found:
                return
            seqs = list({row[3] for row in found if row[0] != rows.ACCOUNT_TERM})
            explained = {
                term
                for seq, target_seq, category, metadata in await _fetch(
                    self._connection, self._tenant_id, _queries.annotations_of, seqs=seqs
                )
                for term in rows.transaction_terms(seq, target_seq, category, metadata)
            }
            for *one, changed_at in found:
                term = tuple(one)
                is_account = term[0] == rows.ACCOUNT_TERM
                if is_account and (hash(term) in self._of_accounts or (changed_at or 0) > head_seq):
                    continue
                if is_account or term not in explained:
                    self._find(term[3], f"{_term(term[1], term[2])} is of no entry")
            key = found[-1][:4]


def _term(name: str, value: str) -> str:
    return f'the search term "{name}": {value}' if name else f'the search term of the category "{value}"'


async def _fetch(connection: Connection, tenant_id: UUID, query: Any, **parameters: Any) -> Sequence[rows.Row]:
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(query, {"tenant_id": tenant_id, **parameters}, binary=True)
    return await cursor.fetchall()
