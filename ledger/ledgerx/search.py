"""Lists of transactions and accounts with any combination of filters, in bounded work a page.

A page looks at no more than `LOOKS` rows and may therefore hold fewer items than asked for, even none, and still have
a next one. Transactions are looked for by whichever index reaches furthest back with the same number of rows: the rows
of the others are more, and between them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from psycopg import AsyncCursor
from psycopg.rows import TupleRow

from ledgerx import rows
from ledgerx.codes import EVERY_CODE, CodeRange, below, exactly
from ledgerx.database import Connection, Pool, Queries, tenant_scope
from ledgerx.filters import AccountFilters, TransactionFilters, ranges_of
from ledgerx.journal import Entry, Kind
from ledgerx.members import redacted
from ledgerx.metadata import wanted_members
from ledgerx.reading import AccountRecord, account_record, fetch

LOOKS = 1_000
# A prefix with more accounts is not looked for by its accounts, nor metadata of more by theirs.
_MAX_ACCOUNTS = 100
# Nor a member's transactions by the accounts of one who owns more.
MAX_OWNED_ACCOUNTS = 1_000
_MAX_CODES = 1_000

_queries = Queries("ledgerx", "sql/search.sql")
# Queries with their parameters, to which those of a page come.
Prepared = Sequence[tuple[Any, Mapping[str, Any]]]
T = TypeVar("T")
P = TypeVar("P")


class Found(msgspec.Struct, Generic[T, P], frozen=True):
    """What a page holds, and the position that the next one begins at; None after the last."""

    items: Sequence[T]
    following: P | None


async def find_transactions(
    pool: Pool, tenant_id: UUID, filters: TransactionFilters, *, confined_to: str | None, before: int, limit: int
) -> Found[Entry, int]:
    """At most `limit` transactions that fit `filters`, newest first, from the newest before the number `before`.

    Who is `confined_to` an owner gets those that touch an account of that owner, redacted: filters by account and
    amount are of its lines then. Raises `InvalidField` for metadata that cannot be searched for.
    """
    ranges = ranges_of(filters)
    members = wanted_members(filters.metadata) if filters.metadata is not None else []
    fitting: list[int] = []
    # Of one moment: an amendment must not come between the filters and what is shown.
    async with pool.connection() as connection, tenant_scope(connection, tenant_id, snapshot=True):
        search = _Search(connection, tenant_id)
        after, before = await search.bounds(filters, before)
        account_ids = await search.accounts(ranges, confined_to)
        # A member's are looked for by the accounts alone: other filters would find rows of everybody's, and the
        # position of the next page would tell of them.
        drivers = _drivers(filters if confined_to is None else TransactionFilters(), members, account_ids)
        conditions = _conditions(filters, ranges, account_ids, known=rows.LATEST, owner=confined_to)
        looked, at_once, more = 0, limit + 1, True
        while more and looked < LOOKS and len(fitting) <= limit:
            drivers, seqs = await search.look(drivers, before=before, after=after, limit=at_once)
            conditions = [one for one in conditions if not _is_met_by(drivers, one)]
            fitting += await search.fitting(conditions, seqs, limit + 1 - len(fitting))
            looked += len(seqs)
            more = len(seqs) == at_once
            before = seqs[-1] if seqs else before
            # As many as it would take where as many of them fit as before, and some more.
            missing = limit + 1 - len(fitting)
            at_once = min(LOOKS - looked, missing + missing * looked // max(len(fitting), 1))
        entries = await rows.read_amended(connection, tenant_id, fitting[:limit], owner=confined_to)
    if confined_to is not None:
        entries = [redacted(entry, confined_to) for entry in entries]
    if len(fitting) > limit:
        return Found(entries[::-1], fitting[limit - 1])
    return Found(entries[::-1], before if more else None)


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """How to go through all transactions that fit filters as they are at an entry, from the oldest to the newest.

    They lie after the entry `after` and up to the entry `upto`.
    """

    after: int
    upto: int
    drivers: Prepared
    conditions: Prepared


async def plan_scan(connection: Connection, tenant_id: UUID, filters: TransactionFilters, *, known: int) -> Scan:
    """The scan of what fits `filters` at the entry `known`. `connection` stands in the tenant's scope.

    Raises `InvalidField` for metadata that cannot be searched for.
    """
    ranges = ranges_of(filters)
    members = wanted_members(filters.metadata) if filters.metadata is not None else []
    search = _Search(connection, tenant_id)
    after, before = await search.bounds(filters, known + 1)
    account_ids = await search.accounts(ranges, None)
    return Scan(
        after=after,
        upto=before - 1,
        drivers=_drivers(filters, members, account_ids),
        conditions=()
        if filters == TransactionFilters()
        else _conditions(filters, ranges, account_ids, known=known, owner=None),
    )


async def scan_between(connection: Connection, tenant_id: UUID, scan: Scan, *, after: int, upto: int) -> list[int]:
    """The entries of a scan after one and up to another, rising; without filters also those that are no transactions.

    `connection` stands in the tenant's scope.
    """
    search = _Search(connection, tenant_id)
    _, seqs = await search.look(scan.drivers, before=upto + 1, after=after, limit=upto - after)
    return list(await search.fitting(scan.conditions, seqs, len(seqs)))[::-1]


async def find_accounts(
    pool: Pool, tenant_id: UUID, filters: AccountFilters, *, confined_to: str | None, after: str, limit: int
) -> Found[AccountRecord, str]:
    """At most `limit` accounts that fit `filters` in the order of their codes, from the first after the code `after`.

    Who is `confined_to` an owner gets that owner's. Raises `InvalidField` for metadata that cannot be searched for.
    """
    ranges: Sequence[CodeRange] = EVERY_CODE if filters.prefix is None else below(filters.prefix)
    if filters.metadata is not None:
        key, value = wanted_members(filters.metadata)[0]
        wanted = {"key": key, "value": value, "limit": _MAX_CODES + 1}
        found = await fetch(pool, tenant_id, _queries.codes_with_metadata, **wanted)
        if len(found) <= _MAX_CODES:
            ranges = [one for (code,) in found for one in exactly(code) if any(code in range_ for range_ in ranges)]
    if confined_to is not None and filters.owner not in (None, confined_to):
        return Found([], None)
    found = await fetch(
        pool,
        tenant_id,
        _queries.accounts_in_order,
        lows=[one.low for one in ranges],
        highs=[one.high for one in ranges],
        after=after,
        looks=LOOKS,
        limit=limit + 1,
        type=filters.type,
        asset=filters.asset,
        status=filters.status,
        owner=filters.owner if confined_to is None else confined_to,
        metadata=filters.metadata,
    )
    last_looked, more = found[0][:2]
    records = [account_record(row[2:]) for row in found if row[2] is not None]
    if len(records) > limit:
        return Found(records[:limit], records[limit - 1].account.code)
    return Found(records, last_looked if more else None)


class _Search:
    """The statements of one page, on a connection that stands in the tenant's scope."""

    def __init__(self, connection: Connection, tenant_id: UUID) -> None:
        self._connection = connection
        self._tenant_id = tenant_id

    async def bounds(self, filters: TransactionFilters, before: int) -> tuple[int, int]:
        """The numbers that the transactions of the recorded range before `before` lie between."""
        moments = {"recorded_from": filters.recorded_from, "recorded_to": filters.recorded_to}
        cursor = await self._execute(_queries.bounds, moments)
        first, last = await cursor.fetchone() or (0, 0)
        return first, min(before, last + 1)

    async def accounts(self, ranges: Sequence[CodeRange] | None, owner: str | None) -> list[int] | None:
        """The accounts in ranges of codes and of an owner, where these are said; None where it is neither, or many."""
        if ranges is None and owner is None:
            return None
        most = _MAX_ACCOUNTS if owner is None else MAX_OWNED_ACCOUNTS
        wanted = _low_and_high(ranges or EVERY_CODE) | {"owner": owner, "limit": most + 1}
        account_ids = await _first_column(await self._execute(_queries.accounts_in_ranges, wanted))
        return None if len(account_ids) > most else account_ids

    async def look(self, drivers: Prepared, *, before: int, after: int, limit: int) -> tuple[Prepared, Sequence[int]]:
        """The driver that reaches furthest back, and the numbers it finds; fewer than `limit` are its last.

        Without a driver it is any number: the journal leaves none out.
        """
        if not drivers:
            return drivers, range(before - 1, max(after, before - 1 - limit), -1)
        page = {"before": before, "after": after, "limit": limit}
        cursors = [await self._execute(query, {**parameters, **page}) for query, parameters in drivers]
        found = [await _first_column(cursor) for cursor in cursors]
        return min(
            zip([[driver] for driver in drivers], found, strict=True),
            key=lambda one: (len(one[1]) == limit, one[1][-1] if len(one[1]) == limit else len(one[1])),
        )

    async def fitting(self, conditions: Prepared, seqs: Sequence[int], limit: int) -> Sequence[int]:
        """At most `limit` of these entries, newest first: those that fit all conditions, of which the last cuts."""
        for number, (query, parameters) in enumerate(conditions, 1):
            if seqs:
                most = limit if number == len(conditions) else len(seqs)
                cursor = await self._execute(query, {**parameters, "seqs": list(seqs), "limit": most})
                seqs = await _first_column(cursor)
        return seqs[:limit]

    async def _execute(self, query: Any, parameters: Mapping[str, Any]) -> AsyncCursor[TupleRow]:
        return await self._connection.execute(query, {"tenant_id": self._tenant_id, **parameters}, binary=True)


async def _first_column(cursor: AsyncCursor[TupleRow]) -> list[int]:
    return [row[0] for row in await cursor.fetchall()]


def _drivers(
    filters: TransactionFilters, members: Sequence[tuple[str, str]], account_ids: Sequence[int] | None
) -> Prepared:
    """The queries that each find, by an index, a superset of the transactions asked for; there may be none."""
    drivers: list[tuple[Any, Mapping[str, Any]]] = []
    if filters.metadata is not None:
        drivers += [(_queries.newest_with_metadata, {"key": key, "value": value}) for key, value in members]
    if filters.reference is not None:
        drivers.append((_queries.newest_with_reference, {"reference": filters.reference}))
    if filters.kind not in (None, Kind.POST):
        drivers.append((_queries.newest_of_kind, {"kind": filters.kind}))
    if filters.category is not None:
        drivers.append((_queries.newest_of_category, {"category": filters.category}))
    if account_ids is not None:
        drivers.append((_queries.newest_of_accounts, {"account_ids": account_ids}))
    return drivers


def _conditions(
    filters: TransactionFilters,
    ranges: Sequence[CodeRange] | None,
    account_ids: Sequence[int] | None,
    *,
    known: int,
    owner: str | None,
) -> Prepared:
    """The queries that leave those entries over that are transactions and fit as they are at the entry `known`.

    `account_ids` are all accounts in `ranges` and of `owner`, None where these are many.
    """
    of_entries: dict[str, Any] = {
        "kind": filters.kind,
        "reference": filters.reference,
        "category": filters.category,
        "metadata": filters.metadata,
        "effective_from": filters.effective_from,
        "effective_to": filters.effective_to,
    }
    of_postings: dict[str, Any] = {
        "account_ids": account_ids,
        "amount_from": filters.amount_from,
        "amount_to": filters.amount_to,
        "owner": owner if account_ids is None else None,
        **_low_and_high(ranges if account_ids is None else None),
    }
    conditions: list[tuple[Any, Mapping[str, Any]]] = []
    by_posting = _said(of_postings)
    # No entry but a transaction has postings.
    if _said(of_entries) or not by_posting:
        conditions.append((_queries.fitting_entries, {**of_entries, "known": known}))
    if by_posting:
        conditions.append((_queries.entries_with_fitting_postings, of_postings))
    return conditions


def _is_met_by(drivers: Prepared, condition: tuple[Any, Mapping[str, Any]]) -> bool:
    """Whether all that the driver finds fits: it goes by accounts, and these are all that the condition asks for."""
    return [query for query, _ in drivers] == [_queries.newest_of_accounts] and _said(condition[1]) == {"account_ids"}


def _said(parameters: Mapping[str, Any]) -> set[str]:
    return {name for name, value in parameters.items() if value is not None}


def _low_and_high(ranges: Sequence[CodeRange] | None) -> dict[str, list[str] | None]:
    return {
        "lows": None if ranges is None else [one.low for one in ranges],
        "highs": None if ranges is None else [one.high for one in ranges],
    }
