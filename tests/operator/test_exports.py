"""LedgerExports: a real API server and PostgreSQL, the operator as a process, and what writes the files."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.export_files import MAX_FILE_BYTES, ExportFiles
from ledgerx_operator.conditions import timestamp
from ledgerx_streams.exports.worker import ExportWorker
from tests.operator.kube import Kube, condition, eventually
from tests.operator.operator_process import (
    OperatorProcess,
    bring_database,
    ledger_export,
    ledger_tenant,
    ready,
    refused,
)

HOURLY = "0 * * * *"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The folder of the destination `archive`."""
    return tmp_path / "archive"


@pytest.fixture
def exporting(
    kube: Kube, operators: Callable[..., OperatorProcess], namespace: str, admin_url: str, archive: Path
) -> OperatorProcess:
    """An operator that knows the destination, and the tenant `shop`."""
    operator = operators(namespace, EXPORTS_DESTINATIONS=f"archive={archive.as_uri()}")
    bring_database(operator, admin_url)
    kube.apply(ledger_tenant(namespace, assets=[{"code": "POINTS", "scale": 0}]))
    ready(kube, "LedgerTenant", namespace, "shop")
    return operator


@asynccontextmanager
async def writing(operator: OperatorProcess, archive: Path, files: Path) -> AsyncIterator[None]:
    """What the streams do with exports, as their role."""
    url = (operator.kube.secret(operator.namespace, "ledgerx-databases-streams") or {})["main"]
    storages: dict[str | None, ExportFiles] = {
        None: ExportFiles(files.as_uri()),
        "archive": ExportFiles(archive.as_uri()),
    }
    async with db.pool(url, application_name="test", max_size=3) as pool:
        worker = ExportWorker(pool, storages, at_once=1, keep_days=7, max_bytes=MAX_FILE_BYTES)
        running = asyncio.create_task(worker.run())
        yield
        running.cancel()
        await asyncio.wait({running})


async def last_run(kube: Kube, namespace: str, name: str, status: str) -> Any:
    """The last run of an export once it has this status."""

    def runs() -> list[Any]:
        return (kube.get("LedgerExport", namespace, name).get("status") or {}).get("runs") or [{}]

    return (await asyncio.to_thread(eventually, runs, lambda found: found[0].get("status") == status))[0]


@contextmanager
def owner(admin_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """The owner of the schema, who sees the only tenant."""
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET ROLE ledgerx_owner")
        connection.execute("SELECT set_config('ledgerx.tenant', tenant_id::text, false) FROM ledgerx.tenants")
        yield connection


def rows(admin_url: str) -> list[tuple[Any, ...]]:
    """Status and destination of all exports."""
    with owner(admin_url) as connection:
        return connection.execute("SELECT status, destination FROM ledgerx.exports ORDER BY requested_at").fetchall()


async def test_an_export_without_a_schedule_is_made_once_and_delivered(
    kube: Kube, exporting: OperatorProcess, namespace: str, archive: Path, tmp_path: Path, admin_url: str
) -> None:
    kube.apply(ledger_export(namespace, destination="archive"))
    async with writing(exporting, archive, tmp_path / "files"):
        run = await last_run(kube, namespace, "monthly", "done")
    tenant_id = kube.get("LedgerTenant", namespace, "shop")["status"]["tenantID"]
    assert run["path"].startswith(f"{tenant_id}/")
    written = (archive / run["path"]).read_bytes()
    assert (run["bytes"], run["sha256"]) == (len(written), hashlib.sha256(written).hexdigest())
    assert run["sequence"] == 1
    found = ready(kube, "LedgerExport", namespace, "monthly")
    assert condition(found, "Healthy") == ("True", "Healthy")
    assert "nextRunTime" not in found["status"]
    assert rows(admin_url) == [("done", "archive")]
    # What was delivered outlasts its object.
    kube.delete("LedgerExport", namespace, "monthly")
    eventually(lambda: kube.get("LedgerExport", namespace, "monthly") is None)
    assert (archive / run["path"]).exists()


async def test_a_schedule_makes_runs_each_of_them_once(
    kube: Kube, exporting: OperatorProcess, namespace: str, archive: Path, tmp_path: Path, admin_url: str
) -> None:
    kube.apply(ledger_export(namespace, schedule=HOURLY))
    status = ready(kube, "LedgerExport", namespace, "monthly")["status"]
    assert datetime.fromisoformat(status["nextRunTime"]) > datetime.now(UTC)
    assert (status["runs"], rows(admin_url)) == ([], [])
    first, second = (timestamp(datetime.now(UTC) - timedelta(hours=hours)) for hours in (3, 2))

    def is_due(at: str, **status: Any) -> None:
        kube.patch("LedgerExport", namespace, "monthly", {"status": {"nextRunTime": at, **status}}, part="/status")

    is_due(first)
    run = await last_run(kube, namespace, "monthly", "queued")
    assert run["time"] == first
    # As if the operator had been killed before it wrote that down.
    is_due(first, runs=[])
    assert await last_run(kube, namespace, "monthly", "queued") == run
    assert rows(admin_url) == [("queued", None)]
    # The next one waits for the end of that.
    is_due(second)
    async with writing(exporting, archive, tmp_path / "files"):
        eventually_done = [("done", None), ("done", None)]
        await asyncio.to_thread(eventually, lambda: rows(admin_url), lambda found: found == eventually_done)
    status = eventually(
        lambda: kube.get("LedgerExport", namespace, "monthly")["status"],
        lambda status: [run["status"] for run in status["runs"]] == ["done", "done"],
    )
    assert [run["time"] for run in status["runs"]] == [second, first]
    assert [path.name for path in (tmp_path / "files").rglob("*.csv")] == ["balances-1.csv"] * 2


async def test_what_cannot_be_exported_is_told(
    kube: Kube, exporting: OperatorProcess, namespace: str, archive: Path, tmp_path: Path, admin_url: str
) -> None:
    kube.apply(ledger_export(namespace, "lost", destination="nowhere"))
    refused(kube, namespace, "lost", "NoSuchDestination", "LedgerExport")
    kube.apply(ledger_export(namespace, "never", schedule="0 0 31 2 *"))
    refused(kube, namespace, "never", "InvalidField", "LedgerExport")
    kube.apply(ledger_export(namespace, "early", tenantRef={"name": "missing"}))
    refused(kube, namespace, "early", "TenantNotReady", "LedgerExport")
    # A platform that has the destination no more.
    kube.apply(ledger_export(namespace, "gone", destination="archive"))
    await last_run(kube, namespace, "gone", "queued")
    with owner(admin_url) as connection:
        connection.execute("UPDATE ledgerx.exports SET destination = 'removed'")
    async with writing(exporting, archive, tmp_path / "files"):
        run = await last_run(kube, namespace, "gone", "failed")
    assert run["error"].startswith("no_such_destination: ")
    eventually(
        lambda: kube.get("LedgerExport", namespace, "gone"),
        lambda found: condition(found, "Healthy") == ("False", "LastRunFailed"),
    )
    kube.patch("LedgerTenant", namespace, "shop", {"spec": {"suspended": True}})
    ready(kube, "LedgerTenant", namespace, "shop")
    kube.apply(ledger_export(namespace, "suspended"))
    refused(kube, namespace, "suspended", "TenantSuspended", "LedgerExport")


async def test_what_waits_is_cancelled_with_its_object(
    kube: Kube, exporting: OperatorProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(ledger_export(namespace))
    await last_run(kube, namespace, "monthly", "queued")
    kube.delete("LedgerExport", namespace, "monthly")
    eventually(lambda: kube.get("LedgerExport", namespace, "monthly") is None)
    assert rows(admin_url) == [("cancelled", None)]
