"""What was found to be wrong with a journal: kept until somebody has looked into it, and never repaired by itself."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

import msgspec
import structlog
from prometheus_client import Counter

from ledgerx.database import Connection, Queries, tenant_scope

MAX_FINDINGS = 100
# Of what is found at once: where one thing is wrong, many follow from it.
MAX_AT_ONCE = 10

_FOUND = Counter("ledgerx_integrity_findings", "Things found wrong with a tenant's journal.", ["found_by"])
_log = structlog.get_logger()
_queries = Queries("ledgerx", "sql/findings.sql")


class Finding(msgspec.Struct, frozen=True):
    """Something wrong. `seq` is the entry it was found at; None where it is about no entry."""

    seq: int | None
    what: str


class KeptFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding with who found it, when, and when it was last seen."""

    seq: int | None
    what: str
    found_by: str
    found_at: datetime
    seen_at: datetime


async def record(connection: Connection, tenant_id: UUID, found: Iterable[Finding], *, found_by: str) -> None:
    """Keep the first findings, at most `MAX_FINDINGS` of a tenant; `connection` stands in its scope. Logs new ones."""
    rows = {(one.seq or 0, one.what): None for one in islice(found, MAX_AT_ONCE)}
    if not rows:
        return
    parameters = {
        "tenant_id": tenant_id,
        "seqs": [seq for seq, _ in rows],
        "whats": [what for _, what in rows],
        "found_by": found_by,
        "most": MAX_FINDINGS,
    }
    cursor = await connection.execute(_queries.record, parameters)
    for seq, what in await cursor.fetchall():
        _FOUND.labels(found_by).inc()
        _log.error("journal not sound", tenant=str(tenant_id), seq=seq or None, what=what, found_by=found_by)


async def read_findings(connection: Connection, tenant_id: UUID, *, limit: int = MAX_FINDINGS) -> Sequence[KeptFinding]:
    """What was found so far, the first found first."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.findings, {"tenant_id": tenant_id, "limit": limit})
    return [
        KeptFinding(seq=seq or None, what=what, found_by=found_by, found_at=found_at, seen_at=seen_at)
        for seq, what, found_by, found_at, seen_at in await cursor.fetchall()
    ]


async def clear_findings(connection: Connection, tenant_id: UUID) -> int:
    """Forget what was found, and return how much that was. `connection` is the schema owner's.

    What is still wrong is found again.
    """
    async with tenant_scope(connection, tenant_id):
        cursor = await connection.execute(_queries.clear, {"tenant_id": tenant_id})
    return cursor.rowcount
