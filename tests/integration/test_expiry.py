"""Holds that expire, with a clock ahead of the database's where time would have to pass."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ledgerx import database as db
from ledgerx.commands import Capture, Direction, Hold, Line
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.expiry import ACTOR, expire_due
from ledgerx.journal import Kind
from ledgerx.logins import Database
from ledgerx.outcomes import Recorded, Refused
from ledgerx.reading import read_transaction
from ledgerx.verify import verify
from tests.commands import envelope, opening
from tests.integration.ledger_client import new_tenant

SOON = timedelta(seconds=0.2)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with db.pool(database.api_url, application_name="test-expiry", max_size=4) as pool:
        yield pool


@pytest.fixture
async def engine(pool: Pool) -> AsyncIterator[Engine]:
    engine = Engine(pool)
    yield engine
    await engine.drain()


async def tenant_with_holds(
    database: Database, engine: Engine, *expire_after: timedelta | None
) -> tuple[UUID, list[int]]:
    """A tenant with a hold for each time, and their numbers."""
    tenant_id = (await new_tenant(database)).tenant_id
    await engine.run_atomic(tenant_id, [opening("bank"), opening("user")])
    now = datetime.now(UTC)
    lines = (Line("bank", Direction.DEBIT, "1"), Line("user", Direction.CREDIT, "1"))
    holds = [
        Hold(lines=lines, expires_at=None if after is None else now + after, **envelope(f"h{number}"))
        for number, after in enumerate(expire_after)
    ]
    outcomes = await engine.run_all(tenant_id, holds)
    return tenant_id, [outcome.entry.seq for outcome in outcomes if isinstance(outcome, Recorded)]


async def open_holds(database: Database, tenant_id: UUID) -> list[int]:
    async with await db.connect(database.admin_url, application_name="test") as connection:
        cursor = await connection.execute(
            "SELECT seq FROM ledgerx.open_holds WHERE tenant_id = %s ORDER BY seq", (tenant_id,)
        )
        return [seq for (seq,) in await cursor.fetchall()]


async def test_due_holds_of_every_tenant_expire_and_no_others(database: Database, pool: Pool, engine: Engine) -> None:
    day = timedelta(days=1)
    first, (due, later, never) = await tenant_with_holds(database, engine, SOON, day, None)
    second, (also_due,) = await tenant_with_holds(database, engine, SOON)
    assert await expire_due(pool, engine) == 0
    await asyncio.sleep(0.3)
    assert await expire_due(pool, engine) == 2
    assert await expire_due(pool, engine) == 0
    assert await open_holds(database, first) == [later, never]
    assert await open_holds(database, second) == []
    for tenant_id, seq in ((first, due), (second, also_due)):
        [(resolution, kind)] = (await read_transaction(pool, tenant_id, seq, confined_to=None)).links
        expired = (await read_transaction(pool, tenant_id, resolution, confined_to=None)).entry
        assert (kind, expired.target_seq, expired.actor) == (Kind.EXPIRE, seq, ACTOR)


async def test_expiry_and_captures_race_for_a_hold_and_one_of_them_wins(
    database: Database, pool: Pool, engine: Engine
) -> None:
    tenant_id, seqs = await tenant_with_holds(database, engine, *[SOON] * 40)
    # This engine's clock stands still just before the holds end: its captures are good ones.
    slow = Engine(pool, clock=lambda: datetime.now(UTC) - timedelta(seconds=10))
    await asyncio.sleep(0.3)
    captures = [Capture(target=seq, **envelope(f"c{seq}")) for seq in seqs]

    async def capture_all() -> list[object]:
        return [await slow.run(tenant_id, capture) for capture in captures]

    outcomes, _, _ = await asyncio.gather(capture_all(), expire_due(pool, engine), expire_due(pool, Engine(pool)))
    refused = {outcome.error.code for outcome in outcomes if isinstance(outcome, Refused)}
    # recorded_at never runs backwards: once one has expired, a slow clock captures no more of them.
    assert refused <= {"hold_already_resolved", "hold_expired"}
    await expire_due(pool, engine)
    assert await open_holds(database, tenant_id) == []
    async with await db.connect(database.owner_url, application_name="test") as connection:
        assert (await verify(connection, tenant_id)).ok
