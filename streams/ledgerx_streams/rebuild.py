"""A projection computed anew from the journal's tables, while everything runs.

What Postgres can compute is made beside the rows, in pages, up to where the journal stood, and swapped in under the
lock of the head. The rest, and what has been recorded since, is applied as the streams do. Reads are right at any time,
for they add what comes after the head themselves.
"""

from collections.abc import Callable
from uuid import UUID

from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.errors import Conflict, NotFound
from ledgerx_streams.backfill import read_page
from ledgerx_streams.heads import Head, beginning
from ledgerx_streams.projections import Projection
from ledgerx_streams.projector import Projector

Progress = Callable[[int, int], None]

_queries = Queries("ledgerx_streams", "sql/heads.sql")


async def rebuild(pool: Pool, projection: Projection, tenant_id: UUID, progress: Progress) -> Head:
    """Compute `projection` of a tenant anew and return where it stands; `progress` is told entries done and all.

    `pool` connects as the schema's owner. Raises `NotFound` for an unknown tenant, and `Conflict` where the journal's
    tables lack an entry.
    """
    journal = await _journal_head(pool, tenant_id)
    progress(0, journal.seq)
    head = beginning(tenant_id)
    async with pool.connection() as connection:
        if projection.shadow is not None:
            # A page may hold an account with millions of postings.
            await connection.execute("SET statement_timeout = 0")
            await projection.shadow.fill(connection, tenant_id, journal.seq)
            head = journal
        async with tenant_scope(connection, tenant_id):
            key = {"tenant_id": tenant_id, "projection": projection.name, "seq": head.seq, "hash": head.hash}
            # Whoever writes the projection waits here, and finds the head elsewhere then.
            await connection.execute(_queries.place, key)
            await projection.clear(connection, tenant_id)
            if projection.shadow is not None:
                await projection.shadow.install(connection)
        await connection.execute("DISCARD TEMP")
    return await _catch_up(pool, projection, tenant_id, head, progress)


async def _catch_up(pool: Pool, projection: Projection, tenant_id: UUID, head: Head, progress: Progress) -> Head:
    projector = Projector(projection, pool)
    while head.seq < (journal := await _journal_head(pool, tenant_id)).seq:
        async with pool.connection() as connection:
            page = await read_page(connection, tenant_id, first=head.seq + 1, last=journal.seq)
        if page is None:
            raise Conflict(f"the journal's tables do not hold all entries from {head.seq + 1} to {journal.seq}")
        # The streams may be at it as well: each entry is applied once, by whoever comes first.
        await projector.apply(tenant_id, [page])
        head = Head(page.last, page.hash)
        progress(head.seq, journal.seq)
    progress(head.seq, head.seq)
    return head


async def _journal_head(pool: Pool, tenant_id: UUID) -> Head:
    async with pool.connection() as connection, tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.journal_head, {"tenant_id": tenant_id})
        row = await cursor.fetchone()
    if row is None:
        raise NotFound("there is no such tenant")
    return Head(*row)
