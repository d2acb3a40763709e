"""What the streams make of the journal. Each module holds one projection: a pure function and the SQL that stores it.

A projection says what entries add to its rows. That they are added once, in order and without a gap is the business
of `ledgerx_streams.projector`.
"""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import msgspec

from ledgerx.database import Connection
from ledgerx.events import EntryRecord


class Projection(msgspec.Struct, frozen=True):
    """`write` adds consecutive entries to a tenant's rows, in the transaction that advances the head called `name`."""

    name: str
    write: Callable[[Connection, UUID, Sequence[EntryRecord]], Awaitable[None]]
