"""What the streams make of the journal. Each module holds one projection: pure functions and the SQL that stores it.

A projection says what entries add to its rows. That they are added once, in order and without a gap is the business
of `ledgerx_streams.projector`.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from uuid import UUID

import msgspec

from ledgerx.database import Connection
from ledgerx.events import EntryRecord


class TemporaryError(Exception):
    """Something outside of the database did not work, and the same entries may be given again."""


class Projection(msgspec.Struct, frozen=True):
    """`write` adds consecutive entries to a tenant's rows, in the transaction that advances the head called `name`.

    `committed` is called when that is done.
    """

    name: str
    write: Callable[[Connection, UUID, Sequence[EntryRecord]], Awaitable[None]]
    committed: Callable[[], None] | None = None


def columns(rows: Sequence[msgspec.Struct]) -> dict[str, str]:
    """The fields of at least one row, all of them integers, as array literals by name.

    Takes half as long as psycopg's dumping of lists item by item, and a prepared statement always gets the same types.
    """
    by_field: Iterable[tuple[int, ...]] = zip(*map(msgspec.structs.astuple, rows), strict=True)
    literals = ("{" + ",".join(map(str, numbers)) + "}" for numbers in by_field)
    return dict(zip(rows[0].__struct_fields__, literals, strict=True))
