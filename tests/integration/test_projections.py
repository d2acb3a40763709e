"""The projector against a real database, on journals that the engine wrote."""

import asyncio
from collections.abc import AsyncIterator
from typing import LiteralString

import msgspec
import psycopg
import pytest

from ledgerx import database as db
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.events import JournalMessage, decode
from ledgerx.verify import verify
from ledgerx_cli.roles import Database
from ledgerx_streams import backfill
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.projector import Projector
from tests.integration.journals import Journal, assert_projected, heads, new_journal, open_engine


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    async with open_engine(database) as engine:
        yield engine


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with db.pool(database.streams_url, application_name="test", max_size=4) as pool:
        yield pool


async def written(journal: Journal, *batches: int) -> list[JournalMessage]:
    for transactions in batches:
        await journal.post(transactions)
    return [decode(payload) for payload in journal.payloads()]


def merged(first: JournalMessage, *others: JournalMessage) -> JournalMessage:
    entries = [entry for message in (first, *others) for entry in message.entries]
    return msgspec.structs.replace(first, last=entries[-1].seq, hash=entries[-1].hash, entries=tuple(entries))


async def test_repeats_and_overlaps_count_once(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2, 4)
    worker = Projector(BALANCES, pool)

    await worker.apply(journal.tenant_id, [messages[0], messages[1], messages[0]])
    await worker.apply(journal.tenant_id, [merged(*messages[:3]), messages[1]])
    await worker.apply(journal.tenant_id, [merged(*messages[1:]), messages[3], messages[0]])

    assert_projected(database, journal)


async def test_marks_of_a_hot_account_are_those_of_its_postings(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    for transactions in (1, 3, 1):
        await journal.post(transactions, lines=900)
    messages = await written(journal, 5)
    worker = Projector(BALANCES, pool)

    await worker.apply(journal.tenant_id, messages[:2])
    await worker.apply(journal.tenant_id, messages[2:])

    assert_projected(database, journal)


async def test_a_gap_is_filled_from_the_tables_page_by_page(
    database: Database, engine: Engine, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "ENTRIES_PER_PAGE", 4)
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 7, 6, 2)
    worker = Projector(BALANCES, pool)

    await worker.apply(journal.tenant_id, messages[:2])
    await worker.apply(journal.tenant_id, messages[4:])

    assert_projected(database, journal)


async def test_a_new_projection_starts_at_the_first_entry(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2)

    await Projector(BALANCES, pool).apply(journal.tenant_id, messages[-1:])

    assert_projected(database, journal)


async def test_workers_that_take_turns_neither_repeat_nor_miss_an_entry(
    database: Database, engine: Engine, pool: Pool
) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2, 4, 1)
    one, other = Projector(BALANCES, pool), Projector(BALANCES, pool)

    await one.apply(journal.tenant_id, messages[:1])
    await other.apply(journal.tenant_id, messages[:3])
    await one.apply(journal.tenant_id, messages[1:4])
    await other.apply(journal.tenant_id, messages[4:])

    assert_projected(database, journal)


async def test_workers_at_once_neither_repeat_nor_miss_an_entry(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, *range(1, 9))
    workers = [Projector(BALANCES, pool) for _ in range(3)]

    async def apply_each(worker: Projector) -> None:
        for message in messages:
            await worker.apply(journal.tenant_id, [message])

    await asyncio.gather(*map(apply_each, workers))

    assert_projected(database, journal)


async def test_nothing_is_written_where_the_head_has_moved(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2)
    one, other = Projector(BALANCES, pool), Projector(BALANCES, pool)
    await one.apply(journal.tenant_id, messages[:1])
    await other.apply(journal.tenant_id, messages[:2])

    # `one` believes the head to be where it left it, and finds that out from the database alone.
    await one.apply(journal.tenant_id, messages[1:2])

    assert heads(database)[journal.tenant_id, "balances"] == messages[1].last
    await one.apply(journal.tenant_id, messages[2:])
    assert_projected(database, journal)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE ledgerx.balances SET posted = posted + 1 WHERE account_id = 1", "projected balances of account 1"),
        ("UPDATE ledgerx.balances SET postings = postings + 1 WHERE account_id = 1", "the count of account 1"),
        ("DELETE FROM ledgerx.balances WHERE account_id = 1", "projected balances of account 1"),
        ("UPDATE ledgerx.marks SET posted = posted + 1 WHERE account_id = 1", "the mark of account 1"),
        ("UPDATE ledgerx.marks SET line = line - 1 WHERE account_id = 1", "the mark of account 1"),
        ("DELETE FROM ledgerx.marks", "the mark of account 1"),
        ("UPDATE ledgerx.projections SET hash = sha256('')", "the balances projection has a hash"),
    ],
)
async def test_verification_compares_the_projection_with_the_postings(
    database: Database, engine: Engine, pool: Pool, statement: LiteralString, found: str
) -> None:
    journal = await new_journal(database, engine)
    await journal.post(1, lines=900)
    await journal.post(1, lines=150)
    messages = await written(journal, 1)
    # All but the last: the projection is compared where it stands, not where the journal ends.
    await Projector(BALANCES, pool).apply(journal.tenant_id, messages[:-1])
    async with await db.connect(database.owner_url, application_name="test") as connection:
        sound = await verify(connection, journal.tenant_id)
        async with await psycopg.AsyncConnection.connect(database.admin_url) as admin:
            assert (await admin.execute(statement)).rowcount == 1
        tampered = await verify(connection, journal.tenant_id)

    assert (sound.findings, sound.projections) == ([], {"balances": messages[-2].last})
    assert tampered.findings[0].what.startswith(found)


async def test_a_fork_stops_its_tenant_and_no_other(database: Database, engine: Engine, pool: Pool) -> None:
    forked, sound = await new_journal(database, engine), await new_journal(database, engine)
    messages = await written(forked, 3, 2)
    worker = Projector(BALANCES, pool)
    await worker.apply(forked.tenant_id, messages[:2])
    reached = heads(database)

    await worker.apply(forked.tenant_id, [msgspec.structs.replace(messages[2], previous_hash=bytes(32))])
    await worker.apply(forked.tenant_id, messages[2:])
    assert heads(database) == reached

    await worker.apply(sound.tenant_id, await written(sound, 2))
    assert heads(database)[sound.tenant_id, "balances"] == sound.last

    await Projector(BALANCES, pool).apply(forked.tenant_id, messages)
    assert_projected(database, forked, sound)


async def test_entries_that_the_tables_do_not_hold_are_a_fork(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3)
    worker = Projector(BALANCES, pool)
    beyond = msgspec.structs.replace(messages[1], first=12, last=14)

    await worker.apply(journal.tenant_id, [beyond])
    await worker.apply(journal.tenant_id, messages)

    assert set(heads(database).values()) == {0}


async def test_a_gap_after_another_history_is_a_fork(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2, 1)
    worker = Projector(BALANCES, pool)
    entries = (*messages[0].entries[:-1], msgspec.structs.replace(messages[0].entries[-1], hash=bytes(32)))
    await worker.apply(journal.tenant_id, [msgspec.structs.replace(messages[0], hash=bytes(32), entries=entries)])
    reached = heads(database)

    await worker.apply(journal.tenant_id, messages[2:])

    assert heads(database) == reached
