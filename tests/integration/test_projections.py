"""The projector against a real database, on journals that the engine wrote."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import LiteralString
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from ledgerx import database as db
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.events import JournalMessage, decode
from ledgerx.journal import genesis
from ledgerx.logins import Database
from ledgerx.verify import verify
from ledgerx_streams import backfill
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.projections import TemporaryError, dated
from ledgerx_streams.projector import Projector
from tests.integration.journals import Journal, assert_projected, heads, new_journal


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with db.pool(database.streams_url, application_name="test", max_size=4) as pool:
        yield pool


class Workers:
    """A projector for each projection."""

    def __init__(self, pool: Pool) -> None:
        self._projectors = [Projector(projection, pool) for projection in PROJECTIONS]

    async def apply(self, tenant_id: UUID, messages: Sequence[JournalMessage]) -> None:
        for projector in self._projectors:
            await projector.apply(tenant_id, messages)


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
    worker = Workers(pool)

    await worker.apply(journal.tenant_id, [messages[0], messages[1], messages[0]])
    await worker.apply(journal.tenant_id, [merged(*messages[:3]), messages[1]])
    await worker.apply(journal.tenant_id, [merged(*messages[1:]), messages[3], messages[0]])

    assert_projected(database, journal)


async def test_entries_without_postings_move_the_heads_from_messages_and_from_the_tables(
    database: Database, engine: Engine, pool: Pool
) -> None:
    journal = await new_journal(database, engine)
    await journal.post(2)
    await journal.register()
    await journal.post(3)
    await journal.register()
    messages = [decode(payload) for payload in journal.payloads()]
    worker = Workers(pool)

    await worker.apply(journal.tenant_id, messages[:1])
    # All between is a gap.
    await worker.apply(journal.tenant_id, messages[-1:])

    assert_projected(database, journal)


async def test_marks_of_a_hot_account_are_those_of_its_postings(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    for transactions in (1, 3, 1):
        await journal.post(transactions, lines=900)
    messages = await written(journal, 5)
    worker = Workers(pool)

    await worker.apply(journal.tenant_id, messages[:2])
    await worker.apply(journal.tenant_id, messages[2:])

    assert_projected(database, journal)


async def test_blocks_of_dated_postings_are_split_where_they_grow_too_large(
    database: Database, engine: Engine, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dated, "POSTINGS_PER_BLOCK", 4)
    journal = await new_journal(database, engine)
    messages = await written(journal, 7, 20, 1, 1, 1, 9)
    await journal.post(5)
    worker = Workers(pool)

    for message in messages:
        await worker.apply(journal.tenant_id, [message])
    await worker.apply(journal.tenant_id, [decode(journal.payloads()[-1])])

    assert_projected(database, journal)
    async with await db.connect(database.admin_url, application_name="test") as connection:
        sizes = await connection.execute("SELECT max(postings), count(*) FROM ledgerx.dated_blocks")
        [(largest, blocks)] = await sizes.fetchall()
    assert largest <= 4
    assert blocks > 10


async def test_amendments_move_volumes_to_another_category(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    await journal.post(4)
    first = journal.last - 3
    worker = Workers(pool)
    await worker.apply(journal.tenant_id, [decode(payload) for payload in journal.payloads()])
    for categories in (["a", None, "a", "a"], [None, "b", "a", "b"]):
        for number, category in enumerate(categories):
            await journal.amend(first + number, category)
    await journal.post(2)
    await journal.amend(journal.last, "c")

    await worker.apply(journal.tenant_id, [merged(*map(decode, journal.payloads()))])

    assert_projected(database, journal)


async def test_a_gap_is_filled_from_the_tables_page_by_page(
    database: Database, engine: Engine, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "ENTRIES_PER_PAGE", 4)
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 7, 6, 2)
    worker = Workers(pool)

    await worker.apply(journal.tenant_id, messages[:2])
    await worker.apply(journal.tenant_id, messages[4:])

    assert_projected(database, journal)


async def test_a_new_projection_starts_at_the_first_entry(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2)

    await Workers(pool).apply(journal.tenant_id, messages[-1:])

    assert_projected(database, journal)


async def test_workers_that_take_turns_neither_repeat_nor_miss_an_entry(
    database: Database, engine: Engine, pool: Pool
) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2, 4, 1)
    one, other = Workers(pool), Workers(pool)

    await one.apply(journal.tenant_id, messages[:1])
    await other.apply(journal.tenant_id, messages[:3])
    await one.apply(journal.tenant_id, messages[1:4])
    await other.apply(journal.tenant_id, messages[4:])

    assert_projected(database, journal)


async def test_workers_at_once_neither_repeat_nor_miss_an_entry(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, *range(1, 9))
    workers = [Workers(pool) for _ in range(3)]

    async def apply_each(worker: Workers) -> None:
        for message in messages:
            await worker.apply(journal.tenant_id, [message])

    await asyncio.gather(*map(apply_each, workers))

    assert_projected(database, journal)


async def test_nothing_is_written_where_the_head_has_moved(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2)
    one, other = Workers(pool), Workers(pool)
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
        (
            "UPDATE ledgerx.projections SET hash = sha256('') WHERE projection = 'balances'",
            "the balances projection has a hash",
        ),
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
    await Workers(pool).apply(journal.tenant_id, messages[:-1])
    async with await db.connect(database.owner_url, application_name="test") as connection:
        sound = await verify(connection, journal.tenant_id)
        async with await psycopg.AsyncConnection.connect(database.admin_url) as admin:
            assert (await admin.execute(statement)).rowcount == 1
        tampered = await verify(connection, journal.tenant_id)

    assert sound.findings == []
    assert sound.projections == dict.fromkeys(("balances", "volumes", "checkpoints"), messages[-2].last)
    assert tampered.findings[0].what.startswith(found)


async def test_a_fork_stops_its_tenant_and_no_other(database: Database, engine: Engine, pool: Pool) -> None:
    forked, sound = await new_journal(database, engine), await new_journal(database, engine)
    messages = await written(forked, 3, 2)
    worker = Workers(pool)
    await worker.apply(forked.tenant_id, messages[:2])
    reached = heads(database)

    await worker.apply(forked.tenant_id, [msgspec.structs.replace(messages[2], previous_hash=bytes(32))])
    await worker.apply(forked.tenant_id, messages[2:])
    assert heads(database) == reached

    await worker.apply(sound.tenant_id, await written(sound, 2))
    assert heads(database)[sound.tenant_id, "balances"] == sound.last

    await Workers(pool).apply(forked.tenant_id, messages)
    assert_projected(database, forked, sound)


async def test_messages_of_a_tenant_that_is_not_there_stop_nobody(
    database: Database, engine: Engine, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a database was made anew beside a topic of before."""
    journal = await new_journal(database, engine)
    messages = await written(journal, 3)
    stranger = uuid4()
    foreign = [msgspec.structs.replace(messages[0], tenant=stranger, previous_hash=genesis(stranger)), *messages[1:]]

    monkeypatch.setattr("ledgerx_streams.projector.SHOWN_AFTER_S", 0.0)
    worker = Workers(pool)
    await worker.apply(stranger, foreign)
    await worker.apply(journal.tenant_id, messages)
    assert_projected(database, journal)
    assert {seq for (tenant_id, _), seq in heads(database).items() if tenant_id == stranger} == {0}


async def test_what_the_restored_journal_does_not_hold_stops_its_tenant_and_leaves_no_trace(
    database: Database, engine: Engine, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2, 1)
    lost = another(messages[2])
    worker = Workers(pool)
    await worker.apply(journal.tenant_id, messages[:1])
    with pytest.raises(TemporaryError, match=f"the journal does not show the entry {lost.last}"):
        await worker.apply(journal.tenant_id, [messages[1], lost])

    monkeypatch.setattr("ledgerx_streams.projector.SHOWN_AFTER_S", 0.0)
    await worker.apply(journal.tenant_id, [lost])
    await worker.apply(journal.tenant_id, messages[2:])
    assert set(heads(database).values()) == {messages[1].last}
    # Nobody has to compute anything anew.
    await Workers(pool).apply(journal.tenant_id, messages[2:])
    assert_projected(database, journal)


def another(message: JournalMessage) -> JournalMessage:
    """A message of another history from its last entry on."""
    last = msgspec.structs.replace(message.entries[-1], hash=bytes(32))
    return msgspec.structs.replace(message, hash=last.hash, entries=(*message.entries[:-1], last))


async def test_entries_that_the_tables_do_not_hold_are_a_fork(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3)
    worker = Workers(pool)
    beyond = msgspec.structs.replace(messages[1], first=12, last=14)

    await worker.apply(journal.tenant_id, [beyond])
    await worker.apply(journal.tenant_id, messages)

    assert set(heads(database).values()) == {0}


async def test_a_gap_after_another_history_is_a_fork(database: Database, engine: Engine, pool: Pool) -> None:
    journal = await new_journal(database, engine)
    messages = await written(journal, 3, 2, 1)
    worker = Workers(pool)
    await worker.apply(journal.tenant_id, messages[:1])
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        admin.execute("UPDATE ledgerx.projections SET hash = %s", (bytes(32),))
    reached = heads(database)

    await Workers(pool).apply(journal.tenant_id, messages[2:])

    assert heads(database) == reached
