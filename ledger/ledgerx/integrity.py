"""Where a journal stands, what the streams have made of it so far, and whether anything is wrong with it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.errors import NotFound
from ledgerx.findings import KeptFinding, read_findings
from ledgerx.journal import genesis

_queries = Queries("ledgerx", "sql/feed.sql")


class ProjectionState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a projection stands. `behind_s` is since when the first entry that it lacks is recorded; 0 at the head.

    It is `consistent` when its hash is the journal's at its entry: otherwise the journal forked.
    """

    name: str
    seq: int
    behind_s: float
    consistent: bool


class Integrity(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a journal and the projections, all at one moment, and what was found first to be wrong, if anything.

    It is `healthy` when nothing is wrong as far as anybody has looked, and no projection stems from another journal.
    """

    seq: int
    hash: bytes
    recorded_at: datetime
    projections: Sequence[ProjectionState]
    finding: KeptFinding | None

    @property
    def healthy(self) -> bool:
        """Whether nothing is known to be wrong."""
        return self.finding is None and all(one.consistent for one in self.projections)


async def read_integrity(pool: Pool, tenant_id: UUID) -> Integrity:
    """Where a tenant's journal and its projections stand. Raises `NotFound` for an unknown tenant."""
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            cursor = await connection.execute(_queries.integrity, {"tenant_id": tenant_id}, binary=True)
        rows = await cursor.fetchall()
        found = await read_findings(connection, tenant_id, limit=1)
    if not rows:
        raise NotFound("there is no such tenant")
    seq, head_hash, recorded_at = rows[0][:3]
    projections = [
        ProjectionState(
            name=name,
            seq=reached,
            # The clocks of whoever recorded it and of the database may differ.
            behind_s=0 if waiting_since is None else max(0, (now - waiting_since).total_seconds()),
            consistent=kept_hash == (journal_hash if reached else genesis(tenant_id)),
        )
        for *_, name, reached, kept_hash, journal_hash, waiting_since, now in rows
        if name is not None
    ]
    return Integrity(
        seq=seq,
        hash=head_hash,
        recorded_at=recorded_at,
        projections=projections,
        finding=found[0] if found else None,
    )
