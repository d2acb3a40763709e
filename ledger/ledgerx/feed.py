"""The journal as a feed, read from the outbox: every entry once, in order, from a number on up to the head.

The cursor is the number of the last entry seen. The outbox keeps entries for a retention time; a cursor from before it
is refused, so that nobody passes over what is not there any more.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.errors import EventsExpired, InvalidCursor, NotFound
from ledgerx.events import decode, entry
from ledgerx.journal import Entry, Kind

# Rows of the outbox are read until they have as many bytes; the last one may have `events.MAX_PAYLOAD_BYTES` more.
PAGE_BYTES = 256 * 1024

# What an entry of each kind is called outside.
EVENT_TYPES = {
    Kind.POST: "ledgerx.transaction.posted",
    Kind.HOLD: "ledgerx.transaction.held",
    Kind.CAPTURE: "ledgerx.transaction.captured",
    Kind.RELEASE: "ledgerx.transaction.released",
    Kind.EXPIRE: "ledgerx.transaction.expired",
    Kind.REVERSE: "ledgerx.transaction.reversed",
    Kind.AMEND: "ledgerx.transaction.amended",
    Kind.OPEN_ACCOUNT: "ledgerx.account.opened",
    Kind.UPDATE_ACCOUNT: "ledgerx.account.updated",
    Kind.CLOSE_ACCOUNT: "ledgerx.account.closed",
    Kind.CREATE_ASSET: "ledgerx.asset.created",
    Kind.UPDATE_ASSET: "ledgerx.asset.updated",
    Kind.DELETE_ASSET: "ledgerx.asset.deleted",
    Kind.CREATE_CATEGORY: "ledgerx.category.created",
    Kind.UPDATE_CATEGORY: "ledgerx.category.updated",
    Kind.DELETE_CATEGORY: "ledgerx.category.deleted",
    Kind.CHANGE_SETTINGS: "ledgerx.settings.changed",
}

_queries = Queries("ledgerx", "sql/feed.sql")


class FeedPage(msgspec.Struct, frozen=True):
    """Consecutive entries, and the number of the journal's last entry when they were read."""

    entries: Sequence[Entry]
    head: int


async def read_feed(pool: Pool, tenant_id: UUID, *, after: int, limit: int) -> FeedPage:
    """The entries after the number `after`: at most `limit`, fewer where they are large, none only at the head.

    Raises `EventsExpired` when the first of them is not kept any more, `InvalidCursor` when the journal has not come to
    `after` yet, `NotFound` for an unknown tenant.
    """
    parameters = {"tenant_id": tenant_id, "after": after, "limit": limit, "max_bytes": PAGE_BYTES}
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            cursor = await connection.execute(_queries.feed, parameters, binary=True)
        rows = await cursor.fetchall()
    if not rows:
        raise NotFound("there is no such tenant")
    head, oldest, _ = rows[0]
    if after > head:
        raise InvalidCursor(f"the journal has {head} entries, and so none after {after}")
    entries: list[Entry] = []
    for _, first, payload in rows:
        # Rows that are missing in between ended their retention, too: the next page says so.
        if first is None or first > after + len(entries) + 1:
            break
        entries += [entry(record) for record in decode(payload.encode()).entries if record.seq > after + len(entries)]
    if not entries and after < head:
        start = head if oldest is None else oldest - 1
        raise EventsExpired(f"the entries after {after} are not kept any more, those after {start} are", oldest=start)
    return FeedPage(entries[:limit], head)


async def read_head_seqs(pool: Pool, tenant_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The number of the last entry of each of these tenants' journals, in one statement; unknown ones are left out."""
    async with pool.connection() as connection:
        cursor = await connection.execute(_queries.head_seqs, {"tenant_ids": list(tenant_ids)})
        return dict(await cursor.fetchall())
