"""What the streams make of the journal. Each module holds one projection: pure functions and the SQL that stores it.

A projection says what entries add to its rows. That they are added once, in order and without a gap is the business
of `ledgerx_streams.projector`.
"""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import msgspec

from ledgerx.database import Connection, integer_arrays
from ledgerx.events import EntryRecord


class TemporaryError(Exception):
    """Something outside of the database did not work, and the same entries may be given again."""


class RefusedError(TemporaryError):
    """Something outside of the database did not take what a projection gave it."""


class Shadow(msgspec.Struct, frozen=True):
    """How Postgres computes a projection beside its rows.

    `fill` puts what a tenant's journal comes to up to an entry into temporary tables, in transactions of its own;
    `install` copies them to where the rows of the tenant, which are gone by then, belong.
    """

    fill: Callable[[Connection, UUID, int], Awaitable[None]]
    install: Callable[[Connection], Awaitable[None]]


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """`write` adds consecutive entries to a tenant's rows, in the transaction that advances the head called `name`.

    `clear` deletes a tenant's rows, and `committed` is called when entries and head are there. One that works `outside`
    of the database too may raise `RefusedError`.
    """

    name: str
    write: Callable[[Connection, UUID, Sequence[EntryRecord]], Awaitable[None]]
    clear: Callable[[Connection, UUID], Awaitable[None]]
    shadow: Shadow | None = None
    committed: Callable[[], None] | None = None
    outside: bool = False


def columns(rows: Sequence[msgspec.Struct]) -> dict[str, str]:
    """The fields of at least one row, all of them integers, as array literals by name."""
    return integer_arrays(rows[0].__struct_fields__, map(msgspec.structs.astuple, rows))


def lists(rows: Sequence[msgspec.Struct]) -> dict[str, list[object]]:
    """The fields of at least one row as lists by name, of any types that psycopg knows."""
    return {name: [getattr(row, name) for row in rows] for name in rows[0].__struct_fields__}
