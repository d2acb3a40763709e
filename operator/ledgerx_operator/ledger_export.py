"""A LedgerExport brought to what it declares: exports asked for when they are due, and what became of the last ones.

What is due is in the status, and the id of a run is made of it: whoever asks for it again, after a crash in between,
gets the same export.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ledgerx.audit import Author
from ledgerx.database import Connection
from ledgerx.errors import NotFound
from ledgerx.export_files import destinations
from ledgerx.exports import Export, Status, Wanted, end_export, read_export, request_export
from ledgerx.lifecycle import TenantState
from ledgerx.schedules import check_schedule, next_boundary
from ledgerx_operator.conditions import HEALTHY, Condition, Outcome, is_settled, timestamp
from ledgerx_operator.failures import NotYet, Refusal
from ledgerx_operator.ledger_tenant import ACTOR
from ledgerx_operator.placement import Placed, Placement
from ledgerx_operator.settings import OperatorSettings
from ledgerx_operator.specs import ExportSpec, spec_of

LOOK_S = 15.0
_MAX_RUNS = 10
_UNFINISHED = (Status.QUEUED, Status.RUNNING)


class ExportReconciler:
    """Brings LedgerExports to what they declare."""

    def __init__(self, placement: Placement, settings: OperatorSettings) -> None:
        self._placement = placement
        self._destinations = destinations(settings.exports_destinations)
        self._max_bytes = settings.exports_tenant_bytes

    async def reconcile(self, body: Mapping[str, Any]) -> Outcome:
        """Ask for what is due, look after what was asked for, and return the status.

        Raises `Failure`s and what they come from.
        """
        spec, now = spec_of(body, ExportSpec), datetime.now(UTC)
        if spec.destination is not None and spec.destination not in self._destinations:
            raise Refusal("NoSuchDestination", f"this platform has no destination {spec.destination}")
        if spec.schedule is not None:
            check_schedule([spec.schedule])
        placed = await self._tenant_of(body, spec)
        async with placed.database.pool.connection() as connection:
            runs = [await _looked_up(connection, placed, run) for run in _runs(body)]
            due = due_at(body, spec, placed.record.time_zone, now=now)
            if due is not None and due <= now and not any(run["status"] in _UNFINISHED for run in runs):
                export = await self._ask(connection, placed, spec, run_id(body["metadata"]["uid"], due))
                asked = _shown(export, due)
                runs = [asked, *(run for run in runs if run["exportID"] != asked["exportID"])][:_MAX_RUNS]
                due = None if spec.schedule is None else next_boundary([spec.schedule], now, placed.record.time_zone)
        return Outcome({"runs": runs, "nextRunTime": due and timestamp(due)}, (_health(runs),))

    async def leave(self, body: Mapping[str, Any]) -> None:
        """Cancel what is not done yet of an object that is deleted; files that are there stay."""
        spec = spec_of(body, ExportSpec)
        placed = await self._placement.locate(body["metadata"]["namespace"], spec.tenant_ref.name)
        unfinished = [run for run in _runs(body) if run["status"] in _UNFINISHED]
        if placed is None or not unfinished:
            return
        async with placed.database.pool.connection() as connection:
            for run in unfinished:
                with suppress(NotFound):
                    await end_export(connection, placed.record.tenant_id, UUID(run["exportID"]), Author(ACTOR))

    async def _tenant_of(self, body: Mapping[str, Any], spec: ExportSpec) -> Placed:
        placed = await self._placement.locate(body["metadata"]["namespace"], spec.tenant_ref.name)
        if placed is None:
            raise NotYet("TenantNotReady", f"the LedgerTenant {spec.tenant_ref.name} is not provisioned")
        if placed.record.state is not TenantState.ACTIVE:
            raise NotYet("TenantSuspended", f"the LedgerTenant {spec.tenant_ref.name} is suspended")
        return placed

    async def _ask(self, connection: Connection, placed: Placed, spec: ExportSpec, export_id: UUID) -> Export:
        return await request_export(
            connection,
            placed.record.tenant_id,
            Wanted(format=spec.format, dataset=spec.dataset, destination=spec.destination),
            Author(ACTOR),
            traceparent=None,
            max_bytes=self._max_bytes,
            export_id=export_id,
        )


def is_idle(body: Mapping[str, Any]) -> bool:
    """Whether there is nothing to do for an export before the next change or the next moment of its schedule."""
    due = (body.get("status") or {}).get("nextRunTime")
    return (
        is_settled(body)
        and not any(run["status"] in _UNFINISHED for run in _runs(body))
        and (due is None or datetime.fromisoformat(due) > datetime.now(UTC))
    )


def due_at(body: Mapping[str, Any], spec: ExportSpec, time_zone: str, *, now: datetime) -> datetime | None:
    """When the next run is due: of a schedule what the status says, also where that has passed; once, from the start.

    Of several moments that were missed only the first is made up for. None where there is nothing to come.
    """
    metadata, status = body["metadata"], body.get("status") or {}
    if spec.schedule is None:
        return None if status.get("runs") else datetime.fromisoformat(metadata["creationTimestamp"])
    if status.get("nextRunTime") and status.get("observedGeneration") == metadata["generation"]:
        return datetime.fromisoformat(status["nextRunTime"])
    return next_boundary([spec.schedule], now, time_zone)


def run_id(uid: str, due: datetime) -> UUID:
    """The id of the run of an object that is due at a moment: of version 7 (RFC 9562), always the same."""
    random = int.from_bytes(hashlib.sha256(f"{uid} {timestamp(due)}".encode()).digest()[:10], "big")
    value = int(due.timestamp()) * 1000 << 80 | random
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(0b11 << 62) | 0b10 << 62)


def _runs(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [dict(run) for run in (body.get("status") or {}).get("runs") or []]


async def _looked_up(connection: Connection, placed: Placed, run: dict[str, Any]) -> dict[str, Any]:
    if run["status"] not in _UNFINISHED:
        return run
    try:
        export = await read_export(connection, placed.record.tenant_id, UUID(run["exportID"]))
    except NotFound:
        return run | {"status": Status.FAILED.value, "error": "it is not there any more"}
    return _shown(export, datetime.fromisoformat(run["time"]))


def _shown(export: Export, due: datetime) -> dict[str, Any]:
    run: dict[str, Any] = {
        "exportID": str(export.id),
        "time": timestamp(due),
        "status": export.status.value,
        "sequence": export.seq,
    }
    if export.status is Status.DONE:
        run |= {"rows": export.rows, "bytes": export.size_bytes, "sha256": (export.sha256 or b"").hex()}
        if export.destination is not None:
            run["path"] = export.path
    if export.finished_at is not None:
        run["finishedTime"] = timestamp(export.finished_at)
    if export.failure is not None:
        run["error"] = f"{export.failure.code}: {export.failure.detail}"[:1024]
    return run


def _health(runs: list[dict[str, Any]]) -> Condition:
    last = next((run for run in runs if run["status"] not in _UNFINISHED), None)
    if last is not None and last["status"] != Status.DONE:
        return Condition(HEALTHY, False, "LastRunFailed", last.get("error", f"it was {last['status']}"))
    return Condition(HEALTHY, True, "Healthy")
