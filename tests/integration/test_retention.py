"""The retention of the outbox: what may go goes, and nothing else, whoever is behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from ledgerx import database as db
from ledgerx.partitions import make_partitions
from ledgerx_cli.roles import Database
from ledgerx_streams.relay.retention import keep_outbox
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import client_of, new_tenant

KEEP_DAYS = 7
TODAY = datetime.now(UTC).date()

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def relay(database: Database) -> AsyncIterator[db.Connection]:
    async with await db.connect(database.relay_url, application_name="test") as connection:
        yield connection


@pytest.fixture
async def tenant(database: Database) -> UUID:
    return (await new_tenant(database)).tenant_id


async def record(admin: Connection, tenant_id: UUID, day: date, seq: int) -> None:
    """Put a row of that day into the outbox, as if it had been recorded then."""
    if day not in await days(admin):
        name = sql.Identifier("ledgerx", f"outbox_{day:%Y%m%d}")
        await admin.execute(sql.SQL("CREATE TABLE {} (LIKE ledgerx.outbox INCLUDING ALL)").format(name))
        await admin.execute(sql.SQL("ALTER TABLE {} OWNER TO ledgerx_owner").format(name))
        await admin.execute(
            sql.SQL("ALTER TABLE ledgerx.outbox ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                name, f"{day} 00:00+00", f"{day + timedelta(days=1)} 00:00+00"
            )
        )
    await admin.execute(
        "INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, first_seq, last_seq,"
        " recorded_at) VALUES (%s, %s, 'journal', '', '', '', %s, %s, %s)",
        (uuid4(), tenant_id, seq, seq, f"{day} 23:59:59+00"),
    )


async def days(admin: Connection) -> list[date]:
    """The days of the outbox, oldest first."""
    cursor = await admin.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'ledgerx.outbox'::regclass ORDER BY relname"
    )
    return [datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).date() for (name,) in await cursor.fetchall()]


async def past(admin: Connection) -> list[int]:
    """How many days ago the days of the outbox before today were."""
    return [(TODAY - day).days for day in await days(admin) if day < TODAY]


async def make_slot(admin: Connection) -> None:
    await admin.execute("SELECT pg_create_logical_replication_slot('ledgerx', 'pgoutput')")


async def confirm(admin: Connection) -> None:
    """Let the slot confirm all that was written up to now."""
    await admin.execute("SELECT pg_replication_slot_advance('ledgerx', pg_current_wal_lsn())")


async def project(admin: Connection, tenant_id: UUID, projection: str, seq: int) -> None:
    await admin.execute(
        "INSERT INTO ledgerx.projections VALUES (%s, %s, %s, sha256(''))"
        " ON CONFLICT ON CONSTRAINT projections_pkey DO UPDATE SET seq = excluded.seq",
        (tenant_id, projection, seq),
    )


async def drop(relay: db.Connection, keep_days: int = KEEP_DAYS) -> int | None:
    """Drop what may go of the oldest day; how many days ago that was."""
    cursor = await relay.execute("SELECT ledgerx.drop_outbox_partition(%s, 'ledgerx')", (keep_days,))
    [(day,)] = await cursor.fetchall()
    return None if day is None else (TODAY - day).days


async def test_days_go_one_by_one_when_all_have_what_was_in_them(
    admin: Connection, relay: db.Connection, tenant: UUID
) -> None:
    for seq, ago in enumerate((10, 9, 8, 7, 1), start=1):
        await record(admin, tenant, TODAY - timedelta(days=ago), seq)
    await make_slot(admin)
    await project(admin, tenant, "balances", 5)
    assert await drop(relay) is None
    await confirm(admin)
    assert [await drop(relay), await drop(relay), await drop(relay), await drop(relay)] == [10, 9, 8, None]
    assert await past(admin) == [7, 1]


async def test_a_slot_that_has_not_confirmed_the_day_keeps_it(
    admin: Connection, relay: db.Connection, tenant: UUID
) -> None:
    await make_slot(admin)
    await record(admin, tenant, TODAY - timedelta(days=9), 1)
    await project(admin, tenant, "balances", 1)
    assert [await drop(relay), await drop(relay)] == [None, None]
    await confirm(admin)
    assert await drop(relay) == 9


async def test_without_the_slot_of_this_database_nothing_goes(
    admin: Connection, relay: db.Connection, tenant: UUID
) -> None:
    await record(admin, tenant, TODAY - timedelta(days=9), 1)
    await project(admin, tenant, "balances", 1)
    assert [await drop(relay), await drop(relay)] == [None, None]
    await admin.execute("SELECT pg_create_logical_replication_slot('other', 'pgoutput')")
    assert await drop(relay) is None
    await make_slot(admin)
    assert await drop(relay) == 9


@pytest.mark.parametrize("behind", ["balances", "marks"])
async def test_a_projection_that_lags_keeps_the_days_that_it_lacks(
    admin: Connection, relay: db.Connection, tenant: UUID, behind: str, database: Database
) -> None:
    other = (await new_tenant(database)).tenant_id
    for seq, ago in ((5, 10), (9, 9)):
        await record(admin, tenant, TODAY - timedelta(days=ago), seq)
        await record(admin, other, TODAY - timedelta(days=ago), 1)
    await make_slot(admin)
    await drop(relay)
    await confirm(admin)
    await project(admin, other, "balances", 1)
    assert await drop(relay) is None
    for projection in ("balances", "marks"):
        await project(admin, tenant, projection, 4 if projection == behind else 9)
    assert await drop(relay) is None
    await project(admin, tenant, behind, 5)
    assert [await drop(relay), await drop(relay)] == [10, None]
    await project(admin, tenant, behind, 8)
    assert await drop(relay) is None
    await project(admin, tenant, behind, 9)
    assert await drop(relay) == 9


async def test_no_day_goes_before_its_time_whatever_is_asked(
    admin: Connection, relay: db.Connection, tenant: UUID
) -> None:
    await record(admin, tenant, TODAY - timedelta(days=1), 1)
    await record(admin, tenant, TODAY, 2)
    await project(admin, tenant, "balances", 2)
    await make_slot(admin)
    for keep_days in (0, -1, 1):
        await drop(relay, keep_days)
        await confirm(admin)
        assert await drop(relay, keep_days) is None
    assert await past(admin) == [1]


async def test_a_position_noted_on_another_server_is_noted_anew(
    admin: Connection, relay: db.Connection, tenant: UUID
) -> None:
    day = TODAY - timedelta(days=9)
    await record(admin, tenant, day, 1)
    await project(admin, tenant, "balances", 1)
    name = sql.Identifier("ledgerx", f"outbox_{day:%Y%m%d}")
    await admin.execute(sql.SQL("COMMENT ON TABLE {} IS 'FFFFFFFF/0'").format(name))
    await make_slot(admin)
    assert await drop(relay) is None
    await confirm(admin)
    assert await drop(relay) == 9


async def test_an_outbox_in_use_is_not_waited_for_and_writers_go_on(
    admin: Connection, relay: db.Connection, tenant: UUID, database: Database
) -> None:
    await record(admin, tenant, TODAY - timedelta(days=9), 1)
    await project(admin, tenant, "balances", 1)
    await make_slot(admin)
    await drop(relay)
    await confirm(admin)
    async with await psycopg.AsyncConnection.connect(database.relay_url) as reader:
        await reader.execute("SELECT FROM ledgerx.outbox LIMIT 1")
        waiting = asyncio.create_task(drop(relay))
        await record(admin, tenant, TODAY, 2)
        with pytest.raises(pg.LockNotAvailable):
            await waiting
        assert await past(admin) == [9]
        await reader.rollback()
    assert await drop(relay) == 9


@pytest.mark.parametrize("role", ["api", "streams"])
async def test_nobody_else_may_drop(database: Database, role: str) -> None:
    async with await db.connect(getattr(database, f"{role}_url"), application_name="test") as connection:
        with pytest.raises(pg.InsufficientPrivilege):
            await drop(connection)


async def test_the_relay_may_not_drop_by_itself(relay: db.Connection) -> None:
    for statement in (
        sql.SQL("ALTER TABLE ledgerx.outbox DETACH PARTITION ledgerx.{}"),
        sql.SQL("DROP TABLE ledgerx.{}"),
        sql.SQL("TRUNCATE ledgerx.{}"),
        sql.SQL("COMMENT ON TABLE ledgerx.{} IS ''"),
    ):
        with pytest.raises(pg.InsufficientPrivilege):
            await relay.execute(statement.format(sql.Identifier(f"outbox_{TODAY:%Y%m%d}")))


async def test_tables_of_the_relays_own_do_not_mislead(admin: Connection, relay: db.Connection, tenant: UUID) -> None:
    await record(admin, tenant, TODAY - timedelta(days=9), 1)
    await project(admin, tenant, "balances", 1)
    await drop(relay)
    await relay.execute(
        "CREATE TEMP TABLE pg_replication_slots AS SELECT 'ledgerx'::name AS slot_name, current_database() AS database,"
        " 'reserved' AS wal_status, 'FFFFFFFF/0'::pg_lsn AS confirmed_flush_lsn"
    )
    await relay.execute("GRANT SELECT ON pg_temp.pg_replication_slots TO public")
    assert await drop(relay) is None


async def test_the_relay_keeps_partitions_ahead_and_drops_old_ones(
    admin: Connection, relay: db.Connection, tenant: UUID
) -> None:
    made = await days(admin)
    await admin.execute(sql.SQL("DROP TABLE ledgerx.{}").format(sql.Identifier(f"outbox_{made[-1]:%Y%m%d}")))
    for seq, ago in enumerate((40, 10, 2), start=1):
        await record(admin, tenant, TODAY - timedelta(days=ago), seq)
    await project(admin, tenant, "balances", 3)
    await make_slot(admin)
    async with _kept(relay):
        while await past(admin) != [2]:
            await confirm(admin)
            await asyncio.sleep(0.01)
    assert (await days(admin))[-1] == made[-1]


@asynccontextmanager
async def _kept(relay: db.Connection) -> AsyncIterator[None]:
    keeping = asyncio.create_task(keep_outbox(relay, slot="ledgerx", days=KEEP_DAYS, every_s=0.01))
    yield
    keeping.cancel()
    await asyncio.wait([keeping])


async def drop_all_partitions(admin: Connection) -> None:
    """What a database looks like that nobody has used for long."""
    for day in await days(admin):
        await admin.execute(sql.SQL("DROP TABLE ledgerx.{}").format(sql.Identifier(f"outbox_{day:%Y%m%d}")))


async def test_after_long_the_api_makes_partitions_before_it_serves(
    admin: Connection, database: Database, servers_directory: Any
) -> None:
    credentials = await new_tenant(database)
    await drop_all_partitions(admin)
    process = ApiProcess(database, servers_directory)
    process.start()
    async with client_of(process.base_url, credentials) as client:
        assert (await client.transfer("k")).status == 201
    assert process.end() == 0
    assert (await days(admin))[0] == TODAY


async def test_an_api_without_partitions_is_not_ready(
    admin: Connection, database: Database, servers_directory: Any
) -> None:
    await drop_all_partitions(admin)
    await admin.execute("REVOKE EXECUTE ON FUNCTION ledgerx.make_outbox_partitions FROM ledgerx_api")
    process = ApiProcess(database, servers_directory)
    starting = asyncio.create_task(asyncio.to_thread(process.start))
    assert "partitions are not made" in await told_by_readyz(process)
    assert not starting.done()
    await admin.execute("GRANT EXECUTE ON FUNCTION ledgerx.make_outbox_partitions TO ledgerx_api")
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


async def test_partitions_are_made_by_those_who_write_and_relay(database: Database, admin: Connection) -> None:
    made = await days(admin)
    for url in (database.api_url, database.relay_url):
        await drop_all_partitions(admin)
        async with await db.connect(url, application_name="test") as connection:
            await make_partitions(connection)
        assert await days(admin) == made
