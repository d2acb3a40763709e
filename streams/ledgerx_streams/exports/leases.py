"""The queue of exports, in their table: a worker takes one for a while, renews that, and says how it ended.

Whoever loses an export to another worker is told so by the next statement: nothing that it does counts any more.
"""

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID, uuid4

import msgspec
from psycopg.errors import UniqueViolation

from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.exports import LEASE_S, SHOW_DAYS, Dataset, ExportFilters, Failure, Format, Status, filename
from ledgerx_streams.exports.tables import Cut
from ledgerx_streams.exports.writing import Measures

_DUE_AT_ONCE = 100

_queries = Queries("ledgerx_streams", "sql/exports.sql")


class Due(msgspec.Struct, frozen=True):
    """An export that somebody has to look at."""

    tenant_id: UUID
    export_id: UUID
    status: Status

    @property
    def folder(self) -> str:
        """Where its files are, whichever attempt has written them."""
        return f"{self.tenant_id}/{self.export_id}"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """An export that is this worker's to write; `attempt` counts from 1."""

    due: Due
    attempt: int
    format: Format
    dataset: Dataset
    destination: str | None
    cut: Cut
    traceparent: str | None

    @property
    def filename(self) -> str:
        """What its file is called."""
        return filename(self.dataset, self.cut.seq, self.format)

    @property
    def path(self) -> str:
        """Where this attempt writes: nobody else does."""
        return f"{self.due.folder}/{self.attempt}/{self.filename}"


class Leases:
    """Those of one worker, which has a name of its own."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._worker = uuid4()

    async def due(self) -> list[Due]:
        """Exports of all tenants to look at, the longest due first. Raises `psycopg.Error`, like all of these."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_queries.due_exports, {"most": _DUE_AT_ONCE})
            return [Due(tenant, export, Status(status)) for tenant, export, status in await cursor.fetchall()]

    async def claim(self, due: Due) -> Claim | None:
        """Take an export; None where somebody else has it, or another one of its tenant is being written."""
        try:
            found = await self._fetch(_queries.claim, due, worker=self._worker, lease_s=LEASE_S)
        except UniqueViolation:
            return None
        if not found:
            return None
        [(file_format, dataset, filters, destination, seq, recorded_at, attempt, traceparent)] = found
        return Claim(
            due=due,
            attempt=attempt,
            format=Format(file_format),
            dataset=Dataset(dataset),
            destination=destination,
            cut=Cut(
                tenant_id=due.tenant_id,
                seq=seq,
                recorded_at=recorded_at,
                filters=msgspec.json.decode(filters, type=ExportFilters),
            ),
            traceparent=traceparent,
        )

    async def renew(self, claim: Claim, measures: Measures) -> bool:
        """Keep an export for another while and show how far it is; False where it is not this worker's any more."""
        progress = {"progress": measures.progress, "rows": measures.rows, "bytes": measures.bytes}
        return bool(await self._fetch(_queries.beat, claim.due, lease_s=LEASE_S, **progress, **self._mine(claim)))

    async def finish(self, claim: Claim, measures: Measures, *, keep_days: int) -> bool:
        """Say that the file is there; False where the export is not this worker's any more."""
        facts = {"rows": measures.rows, "bytes": measures.bytes, "sha256": measures.sha256, "path": claim.path}
        days = {"keep_days": keep_days, "show_days": SHOW_DAYS}
        return bool(await self._fetch(_queries.finish, claim.due, **days, **facts, **self._mine(claim)))

    async def give_back(self, claim: Claim, *, pause_s: float, counts: bool = True) -> None:
        """Let the export be tried again after a pause; an attempt that does not count was cut short by us."""
        attempt_after = claim.attempt if counts else claim.attempt - 1
        facts = {"pause_s": pause_s, "attempt_after": attempt_after}
        await self._run(_queries.give_back, claim.due, **facts, **self._mine(claim))

    async def fail(self, claim: Claim, failure: Failure) -> None:
        """Say why there will be no file."""
        facts = {"error_code": failure.code, "error_detail": failure.detail}
        await self._run(_queries.fail, claim.due, **facts, **self._mine(claim))

    async def expire(self, due: Due) -> None:
        """Let a done export end that is past its time."""
        await self._run(_queries.expire, due)

    async def leftover(self, due: Due) -> tuple[bool, str | None] | None:
        """Whether an export that has ended may have left files, and where; None where there is nothing to do about it.

        Where is a destination, or None for the storage that files are given out of.
        """
        found = await self._fetch(_queries.leftover, due)
        return found[0] if found else None

    async def tidied(self, due: Due) -> None:
        """Say that an export that has ended has no files any more."""
        await self._run(_queries.tidied, due, show_days=SHOW_DAYS)

    async def forget(self, due: Due) -> None:
        """Forget an export that has ended and left nothing."""
        await self._run(_queries.forget, due)

    def _mine(self, claim: Claim) -> dict[str, Any]:
        return {"worker": self._worker, "attempt": claim.attempt}

    async def _fetch(self, query: LiteralString, due: Due, **parameters: Any) -> Sequence[Any]:
        key = {"tenant_id": due.tenant_id, "export_id": due.export_id}
        async with self._pool.connection() as connection, tenant_scope(connection, due.tenant_id):
            cursor = await connection.execute(query, {**key, **parameters})
            return await cursor.fetchall()

    async def _run(self, query: LiteralString, due: Due, **parameters: Any) -> None:
        key = {"tenant_id": due.tenant_id, "export_id": due.export_id}
        async with self._pool.connection() as connection, tenant_scope(connection, due.tenant_id):
            await connection.execute(query, {**key, **parameters})
