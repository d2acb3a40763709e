"""Projections that lack something for long get it from the tables, without any message."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.logins import Database
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.catch_up import catch_up
from tests.integration.journals import assert_projected, ends, heads, new_journal


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with db.pool(database.streams_url, application_name="test", max_size=4) as pool:
        yield pool


async def test_projections_are_brought_on_without_a_message(database: Database, engine: Engine, pool: Pool) -> None:
    journals = [await new_journal(database, engine) for _ in range(3)]
    await catch_up(pool, PROJECTIONS, age_s=0)
    assert_projected(database, *journals)
    for journal in journals[:2]:
        await journal.post(700)
    await catch_up(pool, PROJECTIONS, age_s=0)
    assert_projected(database, *journals)


async def test_what_is_recent_is_left_to_its_message(database: Database, engine: Engine, pool: Pool) -> None:
    await new_journal(database, engine)
    await catch_up(pool, PROJECTIONS, age_s=3_600)
    assert heads(database) == {}


async def test_a_fork_is_left_alone(database: Database, engine: Engine, pool: Pool) -> None:
    forked, sound = await new_journal(database, engine), await new_journal(database, engine)
    await catch_up(pool, PROJECTIONS, age_s=0)
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(
            "UPDATE ledgerx.projections SET hash = sha256('another') WHERE tenant_id = %s AND projection = 'volumes'",
            (forked.tenant_id,),
        )
    before = ends(forked)[forked.tenant_id, "volumes"]
    for journal in (forked, sound):
        await journal.post(1)
    await catch_up(pool, PROJECTIONS, age_s=0)
    assert heads(database) == ends(forked, sound) | {(forked.tenant_id, "volumes"): before}
    with psycopg.connect(database.admin_url) as connection:
        assert connection.execute("SELECT count(*) FROM ledgerx.findings").fetchall() == [(0,)]


async def test_one_worker_at_a_time_looks(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    with psycopg.connect(database.admin_url) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('ledgerx.catch_up'))")
        await catch_up(pool, PROJECTIONS, age_s=0)
        assert heads(database) == {}
        other.execute("SELECT pg_advisory_unlock(hashtext('ledgerx.catch_up'))")
        await catch_up(pool, PROJECTIONS, age_s=0)
    assert_projected(database, journal)
