"""Who writes an export, and who does not any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.audit import SYSTEM
from ledgerx.database import Pool
from ledgerx.errors import ExportExpired
from ledgerx.export_files import ExportFiles
from ledgerx.exports import (
    NEWEST,
    Dataset,
    Export,
    Failure,
    Format,
    Status,
    Wanted,
    end_export,
    read_export,
    read_exports,
    request_export,
)
from ledgerx.logins import Database
from ledgerx_streams.exports import worker
from ledgerx_streams.exports.leases import Claim, Due, Leases
from ledgerx_streams.exports.worker import MAX_ATTEMPTS, ExportWorker
from ledgerx_streams.exports.writing import Measures
from tests.integration.ledger_client import new_tenant


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with db.pool(database.streams_url, application_name="test", max_size=3) as pool:
        yield pool


class Exports:
    """The exports of one tenant, as the API and an administrator see them."""

    def __init__(self, database: Database, tenant_id: UUID) -> None:
        self._database = database
        self.tenant_id = tenant_id

    async def request(self, file_format: Format = Format.CSV) -> Due:
        wanted = Wanted(format=file_format, dataset=Dataset.TRANSACTIONS)
        async with await db.connect(self._database.api_url, application_name="test") as connection:
            made = await request_export(connection, self.tenant_id, wanted, SYSTEM, traceparent=None, max_bytes=2**40)
        return Due(self.tenant_id, made.id, Status.QUEUED)

    async def read(self, due: Due) -> Export:
        async with await db.connect(self._database.api_url, application_name="test") as connection:
            return await read_export(connection, due.tenant_id, due.export_id)

    async def end(self, due: Due) -> None:
        async with await db.connect(self._database.api_url, application_name="test") as connection:
            await end_export(connection, due.tenant_id, due.export_id, SYSTEM)

    def admin(self, change: str, due: Due) -> None:
        with psycopg.connect(self._database.admin_url) as connection:
            query = f"UPDATE ledgerx.exports SET {change} WHERE export_id = %s"  # noqa: S608 - our own words
            connection.execute(query.encode(), (due.export_id,))

    def make_due(self, due: Due) -> None:
        self.admin("due_at = now()", due)


@pytest.fixture
async def exports(database: Database) -> Exports:
    return Exports(database, (await new_tenant(database)).tenant_id)


async def claimed(leases: Leases, due: Due) -> Claim:
    claim = await leases.claim(due)
    assert claim is not None
    return claim


async def test_an_export_has_one_worker_until_its_lease_runs_out(pool: Pool, exports: Exports) -> None:
    first, second = Leases(pool), Leases(pool)
    due = await exports.request()
    assert await first.due() == [due]
    mine = await claimed(first, due)
    assert await first.due() == []
    assert await second.claim(due) is None
    assert await first.renew(mine, Measures())

    exports.make_due(due)
    theirs = await claimed(second, due)

    assert (mine.attempt, theirs.attempt) == (1, 2)
    assert mine.path != theirs.path
    assert not await first.renew(mine, Measures())
    assert not await first.finish(mine, Measures(), keep_days=1)
    await first.fail(mine, Failure("x", "x"))
    await first.give_back(mine, pause_s=0)
    assert (await exports.read(due)).status is Status.RUNNING
    assert await second.finish(theirs, Measures(), keep_days=1)
    assert (await exports.read(due)).file == theirs.path


async def test_a_worker_that_takes_its_own_export_again_is_another_one(pool: Pool, exports: Exports) -> None:
    leases = Leases(pool)
    due = await exports.request()
    before = await claimed(leases, due)
    exports.make_due(due)
    after = await claimed(leases, due)
    assert not await leases.finish(before, Measures(), keep_days=1)
    assert await leases.finish(after, Measures(), keep_days=1)


async def test_a_cancelled_export_is_nobodys(pool: Pool, exports: Exports) -> None:
    leases = Leases(pool)
    due = await exports.request()
    claim = await claimed(leases, due)
    await exports.end(due)
    assert not await leases.renew(claim, Measures())
    assert not await leases.finish(claim, Measures(), keep_days=1)
    assert (await exports.read(due)).status is Status.CANCELLED
    exports.make_due(due)
    assert await leases.leftover(due) == (True, None)


async def test_the_exports_of_a_tenant_are_written_one_after_the_other(
    pool: Pool, exports: Exports, database: Database
) -> None:
    leases = Leases(pool)
    one, two = await exports.request(), await exports.request()
    other = await Exports(database, (await new_tenant(database)).tenant_id).request()
    claim = await claimed(leases, one)
    assert await leases.due() == [other]
    assert await leases.claim(two) is None
    await leases.finish(claim, Measures(), keep_days=1)
    assert await leases.due() == [two, other]
    await claimed(leases, two)


async def test_a_delivered_export_is_the_platform_s_no_more(pool: Pool, exports: Exports) -> None:
    leases = Leases(pool)
    due = await exports.request()
    # Only the owner of the schema may name one, which an administrator is.
    exports.admin("destination = 'archive'", due)
    claim = await claimed(leases, due)
    assert claim.destination == "archive"
    assert await leases.finish(claim, Measures(), keep_days=1)
    delivered = await exports.read(due)
    assert (delivered.status, delivered.path, delivered.expires_at) == (Status.DONE, claim.path, None)
    with pytest.raises(ExportExpired, match="delivered"):
        delivered.file  # noqa: B018 - raises
    exports.make_due(due)
    await leases.expire(due)
    assert await leases.leftover(due) == (False, "archive")


async def test_who_asks_again_by_the_same_id_gets_the_same_export(exports: Exports, database: Database) -> None:
    wanted = Wanted(format=Format.CSV, dataset=Dataset.BALANCES)
    export_id = uuid4()
    async with await db.connect(database.api_url, application_name="test") as connection:
        one, again = [
            await request_export(
                connection,
                exports.tenant_id,
                wanted,
                SYSTEM,
                traceparent=None,
                max_bytes=None,
                export_id=export_id,
            )
            for _ in range(2)
        ]
        assert one == again
        assert [found.id for found in await read_exports(connection, exports.tenant_id, before=NEWEST, limit=9)] == [
            export_id
        ]


async def test_an_ended_export_is_shown_for_a_while_and_then_forgotten(pool: Pool, exports: Exports) -> None:
    leases = Leases(pool)
    due = await exports.request()
    await leases.finish(await claimed(leases, due), Measures(), keep_days=1)
    await leases.expire(due)
    assert (await exports.read(due)).status is Status.DONE
    exports.make_due(due)
    await leases.expire(due)
    assert await leases.leftover(due) == (True, None)
    await leases.tidied(due)
    assert await leases.leftover(due) is None
    await leases.forget(due)
    assert (await exports.read(due)).status is Status.EXPIRED
    exports.make_due(due)
    assert await leases.leftover(due) == (False, None)
    await leases.forget(due)
    assert await leases.due() == []


@pytest.fixture
async def working(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """A worker that looks all the time, and its folder."""
    monkeypatch.setattr(worker, "LOOK_S", 0.02)
    monkeypatch.setattr(worker, "_FIRST_PAUSE_S", 0)
    files = ExportFiles(tmp_path.as_uri())
    running = asyncio.create_task(ExportWorker(pool, {None: files}, at_once=2, keep_days=1, max_bytes=50).run())
    yield tmp_path
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def ended(exports: Exports, due: Due) -> Export:
    """Wait for the end of an export."""
    while (found := await exports.read(due)).status in (Status.QUEUED, Status.RUNNING):  # noqa: ASYNC110 - it is a row
        await asyncio.sleep(0.02)
    return found


async def test_an_export_that_cannot_be_stored_is_tried_again_and_fails_in_the_end(
    working: Path, exports: Exports
) -> None:
    # A file where the folder of the tenant should be.
    in_the_way = working / str(exports.tenant_id)
    in_the_way.write_text("", encoding="ascii")
    failed = await ended(exports, await exports.request(Format.JSONL))
    assert failed.status is Status.FAILED
    assert failed.failure == Failure("export_failed", "the database or the storage did not answer")

    in_the_way.unlink()
    assert (await ended(exports, await exports.request(Format.JSONL))).status is Status.DONE


async def test_an_export_that_kills_its_workers_fails_in_the_end(pool: Pool, exports: Exports, tmp_path: Path) -> None:
    due = await exports.request(Format.JSONL)
    exports.admin(f"attempt = {MAX_ATTEMPTS}", due)
    running = asyncio.create_task(
        ExportWorker(pool, {None: ExportFiles(tmp_path.as_uri())}, at_once=2, keep_days=1, max_bytes=50).run()
    )
    failed = await ended(exports, due)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert failed.status is Status.FAILED
    assert failed.failure == Failure("export_failed", f"it was begun {MAX_ATTEMPTS} times, and never finished")


async def test_a_file_that_is_too_large_fails_at_once(working: Path, exports: Exports) -> None:
    # The head of a CSV file alone is too much here.
    failed = await ended(exports, await exports.request(Format.CSV))
    assert failed.status is Status.FAILED
    assert failed.failure is not None
    assert failed.failure.code == "export_too_large"
    assert failed.path is None
    assert files_in(working) == []
