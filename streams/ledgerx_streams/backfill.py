"""The journal read from its tables, as the messages that the topic would have delivered."""

from uuid import UUID

from ledgerx.database import Connection, tenant_scope
from ledgerx.events import JournalMessage, record
from ledgerx.journal import genesis
from ledgerx.rows import read_entries

# Bounds the memory of a page; an entry has at most 1,000 postings.
ENTRIES_PER_PAGE = 500


async def read_page(connection: Connection, tenant_id: UUID, *, first: int, last: int) -> JournalMessage | None:
    """The entries from `first` to `last`, or the first `ENTRIES_PER_PAGE` of them, as one message.

    None where the tables do not hold them all: whoever knows of them knows another journal.
    """
    last = min(last, first + ENTRIES_PER_PAGE - 1)
    # The entry before the first one is read for its hash.
    numbers = range(max(first - 1, 1), last + 1)
    async with tenant_scope(connection, tenant_id):
        entries = await read_entries(connection, tenant_id, numbers)
    if len(entries) != len(numbers):
        return None
    previous_hash = genesis(tenant_id) if first == 1 else entries.pop(0).hash
    return JournalMessage(
        tenant=tenant_id,
        first=first,
        last=last,
        previous_hash=previous_hash,
        hash=entries[-1].hash,
        entries=tuple(map(record, entries)),
    )
