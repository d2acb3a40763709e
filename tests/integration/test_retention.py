"""The retention of the outbox: what may go goes, and nothing else, whoever is behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg import errors as pg
from psycopg import sql

from ledgerx import database as db
from ledgerx.databases import ALONE
from ledgerx.logins import Database
from ledgerx.partitions import make_partitions
from ledgerx_streams.retention import tend_outbox
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import client_of, new_tenant
from tests.integration.relaying import Connection

KEEP_DAYS = 7
TODAY = datetime.now(UTC).date()


@pytest.fixture
async def streams(database: Database) -> AsyncIterator[db.Connection]:
    async with await db.connect(database.streams_url, application_name="test") as connection:
        yield connection


@pytest.fixture
async def tenant(database: Database) -> UUID:
    return (await new_tenant(database)).tenant_id


async def record(superuser: Connection, tenant_id: UUID, day: date, seq: int) -> None:
    """Put a row of that day into the outbox, as if it had been recorded then."""
    if day not in await days(superuser):
        name = sql.Identifier("ledgerx", f"outbox_{day:%Y%m%d}")
        await superuser.execute(sql.SQL("CREATE TABLE {} (LIKE ledgerx.outbox INCLUDING ALL)").format(name))
        await superuser.execute(sql.SQL("ALTER TABLE {} OWNER TO ledgerx_owner").format(name))
        await superuser.execute(
            sql.SQL("ALTER TABLE ledgerx.outbox ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                name, f"{day} 00:00+00", f"{day + timedelta(days=1)} 00:00+00"
            )
        )
    await superuser.execute(
        "INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, first_seq, last_seq,"
        " recorded_at) VALUES (%s, %s, 'journal', '', '', '', %s, %s, %s)",
        (uuid4(), tenant_id, seq, seq, f"{day} 23:59:59+00"),
    )


async def days(superuser: Connection) -> list[date]:
    """The days of the outbox, oldest first."""
    cursor = await superuser.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'ledgerx.outbox'::regclass ORDER BY relname"
    )
    return [datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).date() for (name,) in await cursor.fetchall()]


async def past(superuser: Connection) -> list[int]:
    """How many days ago the days of the outbox before today were."""
    return [(TODAY - day).days for day in await days(superuser) if day < TODAY]


async def make_slot(superuser: Connection) -> None:
    await superuser.execute("SELECT pg_create_logical_replication_slot('ledgerx', 'pgoutput')")


async def confirm(superuser: Connection) -> None:
    """Let the slot confirm all that was written up to now."""
    await superuser.execute("SELECT pg_replication_slot_advance('ledgerx', pg_current_wal_lsn())")


async def project(superuser: Connection, tenant_id: UUID, projection: str, seq: int) -> None:
    await superuser.execute(
        "INSERT INTO ledgerx.projections VALUES (%s, %s, %s, sha256(''))"
        " ON CONFLICT ON CONSTRAINT projections_pkey DO UPDATE SET seq = excluded.seq",
        (tenant_id, projection, seq),
    )


async def drop(streams: db.Connection, keep_days: int = KEEP_DAYS) -> int | None:
    """Drop what may go of the oldest day; how many days ago that was."""
    cursor = await streams.execute("SELECT ledgerx.drop_outbox_partition(%s, 'ledgerx')", (keep_days,))
    [(day,)] = await cursor.fetchall()
    return None if day is None else (TODAY - day).days


async def test_days_go_one_by_one_when_all_have_what_was_in_them(
    superuser: Connection, streams: db.Connection, tenant: UUID
) -> None:
    for seq, ago in enumerate((10, 9, 8, 7, 1), start=1):
        await record(superuser, tenant, TODAY - timedelta(days=ago), seq)
    await make_slot(superuser)
    await project(superuser, tenant, "balances", 5)
    assert await drop(streams) is None
    await confirm(superuser)
    assert [await drop(streams), await drop(streams), await drop(streams), await drop(streams)] == [10, 9, 8, None]
    assert await past(superuser) == [7, 1]


async def test_a_slot_that_has_not_confirmed_the_day_keeps_it(
    superuser: Connection, streams: db.Connection, tenant: UUID
) -> None:
    await make_slot(superuser)
    await record(superuser, tenant, TODAY - timedelta(days=9), 1)
    await project(superuser, tenant, "balances", 1)
    assert [await drop(streams), await drop(streams)] == [None, None]
    await confirm(superuser)
    assert await drop(streams) == 9


async def test_without_the_slot_of_this_database_nothing_goes(
    superuser: Connection, streams: db.Connection, tenant: UUID
) -> None:
    await record(superuser, tenant, TODAY - timedelta(days=9), 1)
    await project(superuser, tenant, "balances", 1)
    assert [await drop(streams), await drop(streams)] == [None, None]
    await superuser.execute("SELECT pg_create_logical_replication_slot('other', 'pgoutput')")
    assert await drop(streams) is None
    await make_slot(superuser)
    assert await drop(streams) == 9


@pytest.mark.parametrize("behind", ["balances", "marks"])
async def test_a_projection_that_lags_keeps_the_days_that_it_lacks(
    superuser: Connection, streams: db.Connection, tenant: UUID, behind: str, database: Database
) -> None:
    other = (await new_tenant(database)).tenant_id
    for seq, ago in ((5, 10), (9, 9)):
        await record(superuser, tenant, TODAY - timedelta(days=ago), seq)
        await record(superuser, other, TODAY - timedelta(days=ago), 1)
    await make_slot(superuser)
    await drop(streams)
    await confirm(superuser)
    await project(superuser, other, "balances", 1)
    assert await drop(streams) is None
    for projection in ("balances", "marks"):
        await project(superuser, tenant, projection, 4 if projection == behind else 9)
    assert await drop(streams) is None
    await project(superuser, tenant, behind, 5)
    assert [await drop(streams), await drop(streams)] == [10, None]
    await project(superuser, tenant, behind, 8)
    assert await drop(streams) is None
    await project(superuser, tenant, behind, 9)
    assert await drop(streams) == 9


async def test_no_day_goes_before_its_time_whatever_is_asked(
    superuser: Connection, streams: db.Connection, tenant: UUID
) -> None:
    await record(superuser, tenant, TODAY - timedelta(days=1), 1)
    await record(superuser, tenant, TODAY, 2)
    await project(superuser, tenant, "balances", 2)
    await make_slot(superuser)
    for keep_days in (0, -1, 1):
        await drop(streams, keep_days)
        await confirm(superuser)
        assert await drop(streams, keep_days) is None
    assert await past(superuser) == [1]


async def test_a_position_noted_on_another_server_is_noted_anew(
    superuser: Connection, streams: db.Connection, tenant: UUID
) -> None:
    day = TODAY - timedelta(days=9)
    await make_slot(superuser)
    await record(superuser, tenant, day, 1)
    await project(superuser, tenant, "balances", 1)
    name = sql.Identifier("ledgerx", f"outbox_{day:%Y%m%d}")
    await superuser.execute(sql.SQL("COMMENT ON TABLE {} IS 'FFFFFFFF/0'").format(name))
    assert await drop(streams) is None
    await confirm(superuser)
    assert await drop(streams) == 9


async def test_an_outbox_in_use_is_not_waited_for_and_writers_go_on(
    superuser: Connection, streams: db.Connection, tenant: UUID, database: Database
) -> None:
    await record(superuser, tenant, TODAY - timedelta(days=9), 1)
    await project(superuser, tenant, "balances", 1)
    await make_slot(superuser)
    await confirm(superuser)
    async with await psycopg.AsyncConnection.connect(database.relay_url) as reader:
        await reader.execute("SELECT FROM ledgerx.outbox LIMIT 1")
        waiting = asyncio.create_task(drop(streams))
        await record(superuser, tenant, TODAY, 2)
        with pytest.raises(pg.LockNotAvailable):
            await waiting
        assert await past(superuser) == [9]
        await reader.rollback()
    await confirm(superuser)
    assert await drop(streams) == 9


@pytest.mark.parametrize("role", ["api", "relay"])
async def test_nobody_else_may_drop(database: Database, role: str) -> None:
    async with await db.connect(getattr(database, f"{role}_url"), application_name="test") as connection:
        with pytest.raises(pg.InsufficientPrivilege):
            await drop(connection)


async def test_the_streams_may_not_drop_by_themselves(streams: db.Connection) -> None:
    for statement in (
        sql.SQL("ALTER TABLE ledgerx.outbox DETACH PARTITION ledgerx.{}"),
        sql.SQL("DROP TABLE ledgerx.{}"),
        sql.SQL("TRUNCATE ledgerx.{}"),
        sql.SQL("COMMENT ON TABLE ledgerx.{} IS ''"),
    ):
        with pytest.raises(pg.InsufficientPrivilege):
            await streams.execute(statement.format(sql.Identifier(f"outbox_{TODAY:%Y%m%d}")))


async def test_tables_of_the_callers_own_do_not_mislead(
    superuser: Connection, streams: db.Connection, tenant: UUID
) -> None:
    await record(superuser, tenant, TODAY - timedelta(days=9), 1)
    await project(superuser, tenant, "balances", 1)
    await drop(streams)
    await streams.execute(
        "CREATE TEMP TABLE pg_replication_slots AS SELECT 'ledgerx'::name AS slot_name, current_database() AS database,"
        " 'reserved' AS wal_status, 'FFFFFFFF/0'::pg_lsn AS confirmed_flush_lsn"
    )
    await streams.execute("GRANT SELECT ON pg_temp.pg_replication_slots TO public")
    assert await drop(streams) is None


def metric(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"ledgerx_outbox_{name}", {"database": ALONE, **labels})


async def test_the_streams_drop_old_days_and_tell_what_keeps_one(
    superuser: Connection, tenant: UUID, database: Database
) -> None:
    for seq, ago in enumerate((40, 10, 8, 2), start=1):
        await record(superuser, tenant, TODAY - timedelta(days=ago), seq)
    async with db.pool(database.streams_url, application_name="test", max_size=1) as pool:

        async def tend() -> tuple[list[int], float | None]:
            await tend_outbox(pool, database=ALONE, slot="ledgerx", days=KEEP_DAYS)
            return await past(superuser), metric("overdue_days")

        assert await tend() == ([40, 10, 8, 2], 32)
        assert metric("kept_by", keeper="slot") == 1
        await make_slot(superuser)
        await confirm(superuser)
        assert await tend() == ([40, 10, 8, 2], 32)
        assert (metric("kept_by", keeper="slot"), metric("kept_by", keeper="projections")) == (None, 1)
        await project(superuser, tenant, "balances", 9)
        await project(superuser, tenant, "volumes", 1)
        assert await tend() == ([10, 8, 2], 2)
        assert (metric("kept_by", keeper="projections"), metric("kept_by", keeper="volumes")) == (None, 1)
        # What has just become due is not overdue.
        await project(superuser, tenant, "volumes", 2)
        assert await tend() == ([8, 2], 0)
        assert metric("kept_by", keeper="volumes") is None
        await project(superuser, tenant, "volumes", 4)
        assert await tend() == ([2], 0)


async def drop_all_partitions(superuser: Connection) -> None:
    """What a database looks like that nobody has used for long."""
    for day in await days(superuser):
        await superuser.execute(sql.SQL("DROP TABLE ledgerx.{}").format(sql.Identifier(f"outbox_{day:%Y%m%d}")))


async def test_after_long_the_api_makes_partitions_before_it_serves(
    superuser: Connection, database: Database, servers_directory: Any
) -> None:
    credentials = await new_tenant(database)
    await drop_all_partitions(superuser)
    process = ApiProcess(database, servers_directory)
    process.start()
    async with client_of(process.base_url, credentials) as client:
        assert (await client.transfer("k")).status == 201
    assert process.end() == 0
    assert (await days(superuser))[0] == TODAY


async def test_an_api_without_partitions_is_not_ready(
    superuser: Connection, database: Database, servers_directory: Any
) -> None:
    await drop_all_partitions(superuser)
    await superuser.execute("REVOKE EXECUTE ON FUNCTION ledgerx.make_outbox_partitions FROM ledgerx_api")
    process = ApiProcess(database, servers_directory)
    starting = asyncio.create_task(asyncio.to_thread(process.start))
    assert "databases are not reached" in await told_by_readyz(process)
    assert not starting.done()
    await superuser.execute("GRANT EXECUTE ON FUNCTION ledgerx.make_outbox_partitions TO ledgerx_api")
    await starting
    assert process.end() == 0


async def told_by_readyz(process: ApiProcess) -> str:
    """The first that it says."""
    async with aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with session.get(f"{process.base_url}/readyz") as answer:
                    return await answer.text()
            await asyncio.sleep(0.05)


async def test_partitions_are_made_by_those_who_write_and_relay(database: Database, superuser: Connection) -> None:
    made = await days(superuser)
    for url in (database.api_url, database.relay_url):
        await drop_all_partitions(superuser)
        async with await db.connect(url, application_name="test") as connection:
            await make_partitions(connection)
        assert await days(superuser) == made
