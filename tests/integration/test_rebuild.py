"""Projections computed anew, beside streams that go on."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from ledgerx import database as db
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.errors import NotFound
from ledgerx.events import JournalMessage, decode
from ledgerx.logins import Database
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.projections import Projection, entries
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.projector import Projector
from ledgerx_streams.rebuild import rebuild
from ledgerx_streams.topics import prepare
from tests.integration.entries_topic import published_seqs
from tests.integration.journals import Journal, assert_projected, heads, new_journal
from tests.integration.worker_process import StartWorker, deliver, until

SPOILED = {
    "balances": "UPDATE ledgerx.balances SET posted = posted + 1 WHERE tenant_id = %s",
    "checkpoints": "UPDATE ledgerx.merkle_tiles SET hashes = sha256('') WHERE tenant_id = %s",
    "audit": "UPDATE ledgerx.audits SET hash = sha256('') WHERE tenant_id = %s",
    "volumes": "UPDATE ledgerx.daily_volumes SET debits = debits + 1 WHERE tenant_id = %s",
}


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with db.pool(database.streams_url, application_name="test", max_size=4) as pool:
        yield pool


@pytest.fixture
async def owner_pool(database: Database) -> AsyncIterator[Pool]:
    async with db.pool(database.owner_url, application_name="test", max_size=2) as pool:
        yield pool


def messages(journal: Journal) -> list[JournalMessage]:
    return [decode(payload) for payload in journal.payloads()]


def ignore(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda one: one.name)
async def test_what_is_wrong_is_right_again(
    database: Database, engine: Engine, pool: Pool, owner_pool: Pool, projection: Projection
) -> None:
    journal, other = await new_journal(database, engine), await new_journal(database, engine)
    await journal.post(1_200)
    await journal.hold(expires_in_s=60)
    await journal.post(3)
    await other.post(2)
    for one in (journal, other):
        for each in PROJECTIONS:
            await Projector(each, pool).apply(one.tenant_id, messages(one))
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(SPOILED[projection.name], (journal.tenant_id,))
    with pytest.raises(AssertionError):
        assert_projected(database, journal)
    seen: list[tuple[int, int]] = []

    head = await rebuild(owner_pool, projection, journal.tenant_id, lambda done, total: seen.append((done, total)))

    assert_projected(database, journal, other)
    last = messages(journal)[-1]
    assert (head.seq, head.hash) == (last.last, last.hash)
    assert seen[-1] == (last.last, last.last)
    assert seen == sorted(seen)


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda one: one.name)
async def test_the_streams_go_on_meanwhile(
    database: Database, engine: Engine, pool: Pool, owner_pool: Pool, projection: Projection
) -> None:
    journal = await new_journal(database, engine)
    workers = [Projector(one, pool) for one in PROJECTIONS]
    done = asyncio.Event()

    async def stream() -> None:
        applied = 0
        while not done.is_set() or applied < len(messages(journal)):
            await journal.post(5)
            new = messages(journal)[applied:]
            applied += len(new)
            for worker in workers:
                await worker.apply(journal.tenant_id, new)

    streaming = asyncio.create_task(stream())
    for _ in range(3):
        await rebuild(owner_pool, projection, journal.tenant_id, ignore)
    done.set()
    await streaming
    assert_projected(database, journal)


async def test_a_tenant_that_forked_goes_on_after_it(
    database: Database, engine: Engine, pool: Pool, owner_pool: Pool
) -> None:
    journal = await new_journal(database, engine)
    await journal.post(2)
    worker = Projector(BALANCES, pool)
    first, second = messages(journal)
    await worker.apply(journal.tenant_id, [first])
    others = [msgspec.structs.replace(second, previous_hash=bytes(32)), second]
    await worker.apply(journal.tenant_id, others)
    await journal.post(1)

    await worker.apply(journal.tenant_id, messages(journal)[2:])
    with pytest.raises(AssertionError):
        assert_projected(database, journal)
    await rebuild(owner_pool, BALANCES, journal.tenant_id, ignore)
    await journal.post(4)
    await worker.apply(journal.tenant_id, messages(journal)[3:])

    for other in PROJECTIONS[1:]:
        await Projector(other, pool).apply(journal.tenant_id, messages(journal))
    assert_projected(database, journal)


async def test_an_unknown_tenant_is_not_found(owner_pool: Pool) -> None:
    with pytest.raises(NotFound):
        await rebuild(owner_pool, BALANCES, uuid4(), ignore)


def _rebuilt(database: Database, projection: str, tenant: str, **further: str) -> dict[str, object]:
    command = [sys.executable, "-P", "-m", "ledgerx_cli", "rebuild", projection, "--tenant", tenant, "--json"]
    environment = {"LEDGERX_DATABASE_URL": database.owner_url, **further}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    printed: dict[str, object] = msgspec.json.decode(done.stdout)
    return printed


async def test_the_command_tells_where_it_stands(database: Database, engine: Engine) -> None:
    journal = await new_journal(database, engine)
    await journal.post(3)
    name = _name_of(database, journal)
    for projection in PROJECTIONS:
        printed = _rebuilt(database, projection.name, name)
        assert isinstance(printed.pop("took_s"), float)
        assert printed == {"projection": projection.name, "tenant": name, "seq": messages(journal)[-1].last}
    assert_projected(database, journal)


async def test_entries_are_published_anew_in_order_while_a_worker_runs(
    database: Database, engine: Engine, kafka_server: Kafka, producer: AIOKafkaProducer, start_worker: StartWorker
) -> None:
    await prepare(kafka_server.access)
    journal = await new_journal(database, engine)
    await journal.post(600)
    start_worker()
    await deliver(producer, journal, journal.payloads())
    await until(lambda: heads(database).get((journal.tenant_id, entries.NAME)) == journal.last)
    before = await published_seqs(kafka_server.access, journal)

    rebuilding = asyncio.to_thread(
        _rebuilt, database, entries.NAME, _name_of(database, journal), LEDGERX_KAFKA=kafka_server.bootstrap
    )
    await journal.post(3)
    await asyncio.gather(rebuilding, deliver(producer, journal, journal.payloads()[-1:]))
    await until(lambda: heads(database).get((journal.tenant_id, entries.NAME)) == journal.last)

    again = (await published_seqs(kafka_server.access, journal))[len(before) :]
    # The worker may have published the three new ones before it began.
    again = again[again.index(1) :]
    assert again == list(range(1, journal.last + 1))


def _name_of(database: Database, journal: Journal) -> str:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        query = "SELECT name FROM ledgerx.tenants WHERE tenant_id = %s"
        [(name,)] = connection.execute(query, (journal.tenant_id,)).fetchall()
    assert isinstance(name, str)
    return name
