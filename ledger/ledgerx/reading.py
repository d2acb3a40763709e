"""Reads of an account, its postings and a transaction by their keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.errors import NotFound
from ledgerx.journal import Entry, Kind, Layer
from ledgerx.members import redacted
from ledgerx.state import Account, Balance, Sums, balance

_queries = Queries("ledgerx", "sql/reading.sql")
# Comes after every line of every account.
NEWEST = (2**63 - 1, 0)


class AccountRecord(msgspec.Struct, frozen=True):
    """An account with what the engine does not need to know of it. `metadata` is canonical JSON text."""

    account: Account
    metadata: str | None
    opened_at: datetime


class AccountLine(msgspec.Struct, frozen=True, kw_only=True):
    """One posting of an account; `amount` is minor units, debits positive, `running` the balance just after it."""

    seq: int
    line: int
    layer: Layer
    amount: int
    kind: Kind
    recorded_at: datetime
    effective_at: datetime | None
    reference: str | None
    category: str | None
    description: str | None
    running: Balance


class LinkedEntry(msgspec.Struct, frozen=True):
    """A transaction with its annotations as amended, and the number and kind of what resolved, reversed or amended it.

    There are at most 100 links, the oldest first.
    """

    entry: Entry
    links: Sequence[tuple[int, Kind]]


async def read_account(pool: Pool, tenant_id: UUID, code: str, *, confined_to: str | None) -> AccountRecord:
    """The account with this code. Raises `NotFound`, also where it is not of the owner `confined_to`."""
    found = await fetch(pool, tenant_id, _queries.account, code=code, owner=confined_to)
    if not found:
        raise NotFound(f'there is no account "{code}"')
    return account_record(found[0])


async def read_postings(
    pool: Pool, tenant_id: UUID, account: Account, *, before: tuple[int, int], limit: int
) -> list[AccountLine]:
    """At most `limit` postings of an account, newest first, from the newest before the line `before` (seq, line)."""
    found = await fetch(
        pool,
        tenant_id,
        _queries.account_postings_page,
        account_id=account.account_id,
        before_seq=before[0],
        before_line=before[1],
        limit=limit,
    )
    lines = []
    sums = rows.sums(*found[0][-3:]) if found else Sums()
    for row in found:
        line = account_line(row, balance(sums, account.type))
        lines.append(line)
        sums = sums.plus(line.layer, -line.amount)
    return lines


async def read_transaction(pool: Pool, tenant_id: UUID, seq: int, *, confined_to: str | None) -> LinkedEntry:
    """The transaction with this number, redacted for an owner.

    Raises `NotFound`, also for an entry of another kind, and where it touches no account of the owner `confined_to`.
    """
    async with pool.connection() as connection, tenant_scope(connection, tenant_id, read_only=True):
        parameters = {"tenant_id": tenant_id, "seqs": [seq], "owner": confined_to}
        links = await connection.execute(_queries.links, parameters)
        found = await rows.read_amended(connection, tenant_id, [seq], owner=confined_to)
        if not found or not found[0].postings:
            raise NotFound(f"there is no transaction {seq}")
        shown = found[0] if confined_to is None else redacted(found[0], confined_to)
        return LinkedEntry(shown, [(link, Kind(kind)) for _, link, kind in await links.fetchall()])


async def fetch(pool: Pool, tenant_id: UUID, query: Any, **parameters: Any) -> Sequence[rows.Row]:
    """The rows of one statement in the tenant's scope."""
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            cursor = await connection.execute(query, {"tenant_id": tenant_id, **parameters}, binary=True)
        return await cursor.fetchall()


def account_line(row: rows.Row, running: Balance) -> AccountLine:
    """A line from a row that begins with the columns of `account_postings_page`, with the balance just after it."""
    seq, line, layer, amount, kind, recorded_at, effective_at, reference, category, description = row[:10]
    return AccountLine(
        seq=seq,
        line=line,
        layer=Layer(layer),
        amount=int(amount),
        kind=Kind(kind),
        recorded_at=recorded_at,
        effective_at=effective_at,
        reference=reference,
        category=category,
        description=description,
        running=running,
    )


def account_record(row: rows.Row) -> AccountRecord:
    """An account from a row of the columns of `account`."""
    *account, metadata, opened_at = row
    return AccountRecord(rows.account(account), metadata, opened_at)
