"""The projector against a real database, on journals that the engine wrote."""

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from ledgerx import database as db
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.events import JournalMessage, decode
from ledgerx_cli.roles import Database
from ledgerx_streams import backfill
from ledgerx_streams.app import PROJECTIONS
from ledgerx_streams.projections import dated
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


def projectors(pool: Pool) -> list[Projector]:
    return [Projector(projection, pool) for projection in PROJECTIONS]


async def apply(workers: Sequence[Projector], journal: Journal, messages: Sequence[JournalMessage]) -> None:
    for worker in workers:
        await worker.apply(journal.tenant_id, messages)


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
    workers = projectors(pool)

    await apply(workers, journal, [messages[0], messages[1], messages[0]])
    await apply(workers, journal, [merged(*messages[:3]), messages[1]])
    await apply(workers, journal, [merged(*messages[1:]), messages[3], messages[0]])

    assert_projected(database, journal)


async def test_marks_of_a_hot_account_are_those_of_its_postings(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    for transactions in (1, 3, 1):
        await journal.post(transactions, lines=900)
    messages = await written(journal, 5)
    workers = projectors(pool)

    await apply(workers, journal, messages[:2])
    await apply(workers, journal, messages[2:])

    assert_projected(database, journal)


async def test_blocks_of_dated_postings_are_split_where_they_grow_too_large(
    database: Database, engine: Engine, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dated, "POSTINGS_PER_BLOCK", 4)
    journal = await new_journal(database, engine)
    messages = await written(journal, 7, 20, 1, 1, 1, 9)
    await journal.post(5)
    workers = projectors(pool)

    for message in messages:
        await apply(workers, journal, [message])
    await apply(workers, journal, [decode(journal.payloads()[-1])])

    assert_projected(database, journal)
    async with await db.connect(database.admin_url, application_name="test") as connection:
        sizes = await connection.execute("SELECT max(postings), count(*) FROM ledgerx.dated_blocks")
        [(largest, blocks)] = await sizes.fetchall()
    assert largest <= 4
    assert blocks > 10


async def test_a_gap_is_filled_from_the_tables_page_by_page(
    database: Database, engine: Engine, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "ENTRIES_PER_PAGE", 4)
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 7, 6, 2)
    workers = projectors(pool)

    await apply(workers, journal, messages[:2])
    await apply(workers, journal, messages[4:])

    assert_projected(database, journal)


async def test_a_new_projection_starts_at_the_first_entry(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2)

    await apply(projectors(pool), journal, messages[-1:])

    assert_projected(database, journal)


async def test_workers_that_take_turns_neither_repeat_nor_miss_an_entry(
    database: Database, engine: Engine, pool: Pool
) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2, 4, 1)
    one, other = projectors(pool), projectors(pool)

    await apply(one, journal, messages[:1])
    await apply(other, journal, messages[:3])
    await apply(one, journal, messages[1:4])
    await apply(other, journal, messages[4:])

    assert_projected(database, journal)


async def test_a_fork_stops_its_tenant_and_no_other(database: Database, engine: Engine, pool: Pool) -> None:
    forked, sound = await new_journal(database, engine), await new_journal(database, engine)
    messages = await written(forked, 3, 2)
    workers = projectors(pool)
    await apply(workers, forked, messages[:2])
    reached = heads(database)

    await apply(workers, forked, [msgspec.structs.replace(messages[2], previous_hash=bytes(32))])
    await apply(workers, forked, messages[2:])
    assert heads(database) == reached

    await apply(workers, sound, await written(sound, 2))
    assert heads(database)[sound.tenant_id, "balances"] == sound.last

    await apply(projectors(pool), forked, messages)
    assert_projected(database, forked, sound)


async def test_entries_that_the_tables_do_not_hold_are_a_fork(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3)
    workers = projectors(pool)
    beyond = msgspec.structs.replace(messages[1], first=12, last=14)

    await apply(workers, journal, [beyond])
    await apply(workers, journal, messages)

    assert set(heads(database).values()) == {0}


async def test_a_gap_after_another_history_is_a_fork(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2, 1)
    workers = projectors(pool)
    entries = (*messages[0].entries[:-1], msgspec.structs.replace(messages[0].entries[-1], hash=bytes(32)))
    await apply(workers, journal, [msgspec.structs.replace(messages[0], hash=bytes(32), entries=entries)])
    reached = heads(database)

    await apply(workers, journal, messages[2:])

    assert heads(database) == reached
