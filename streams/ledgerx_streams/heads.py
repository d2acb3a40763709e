"""Where a projection stands in a tenant's journal, and what a journal message means to it.

Pure: the same function serves the stream, the back-fill and a rebuild.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from ledgerx.events import EntryRecord, JournalMessage
from ledgerx.journal import genesis


class Head(msgspec.Struct, frozen=True, gc=False):
    """The last entry that a projection holds, and the hash of the journal up to it."""

    seq: int
    hash: bytes


class Skip(msgspec.Struct, frozen=True):
    """The message holds nothing new."""


class Apply(msgspec.Struct, frozen=True):
    """These entries follow the head directly."""

    entries: Sequence[EntryRecord]


class Backfill(msgspec.Struct, frozen=True):
    """The entries `first` to `last` are missing between the head and the message."""

    first: int
    last: int


class Fork(msgspec.Struct, frozen=True):
    """The message and the projection stem from different journals: their hashes at `seq` differ."""

    seq: int


Step = Skip | Apply | Backfill | Fork


def beginning(tenant_id: UUID) -> Head:
    """The head of a projection that holds nothing yet."""
    return Head(0, genesis(tenant_id))


def plan(head: Head, message: JournalMessage) -> Step:
    """Say what a projection at `head` has to do with `message`.

    A message that ends before the head cannot be compared with it and counts as a repeat.
    """
    if message.last < head.seq:
        return Skip()
    if message.first > head.seq + 1:
        return Backfill(head.seq + 1, message.first - 1)
    known = head.seq + 1 - message.first
    hash_at_head = message.entries[known - 1].hash if known else message.previous_hash
    if hash_at_head != head.hash:
        return Fork(head.seq)
    return Apply(message.entries[known:]) if message.last > head.seq else Skip()


class Run(msgspec.Struct, frozen=True):
    """What leads from one head to the next: `entries` out of the first `taken` messages, up to an `obstacle` if any."""

    entries: Sequence[EntryRecord]
    head: Head
    taken: int
    obstacle: Backfill | Fork | None = None


def plan_run(head: Head, messages: Sequence[JournalMessage]) -> Run:
    """Put as many of a tenant's messages as follow one another from `head` into one run."""
    entries: list[EntryRecord] = []
    for taken, message in enumerate(messages):
        match plan(head, message):
            case Apply(new):
                entries.extend(new)
                head = Head(message.last, message.hash)
            case Backfill() | Fork() as obstacle:
                return Run(entries, head, taken, obstacle)
    return Run(entries, head, len(messages))
