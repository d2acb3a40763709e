"""From the journal's topic to the topic of entries and to receivers, by workers that are processes, and are killed."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from ledgerx import database as db
from ledgerx import sealing, webhooks
from ledgerx.audit import SYSTEM
from ledgerx.cloud_events import encode_event
from ledgerx.engine import Engine
from ledgerx.events import decode
from ledgerx.feed import read_feed
from ledgerx.logins import Database
from ledgerx.sealing import SealingKeys
from ledgerx.webhooks import Target
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings
from ledgerx_streams.projections.entries import NAME, entries_projection, entries_publisher
from ledgerx_streams.projector import Projector
from ledgerx_streams.topics import prepare
from tests.integration.entries_topic import entries_of, published_seqs
from tests.integration.journals import Journal, heads, new_journal
from tests.integration.worker_process import StartWorker, Worker, deliver, until
from tests.webhook_receiver import Receiver, Site


@pytest.fixture
def keys(tmp_path: Path) -> SealingKeys:
    return sealing.write_new_sealing_keys(tmp_path / "sealing-keys.json")


@pytest.fixture
def start_deliverer(tmp_path: Path, keys: SealingKeys, start_worker: StartWorker) -> Callable[[], Worker]:
    """Starts workers that deliver; the lease of one that is killed has run out in four seconds."""
    assert keys
    return partial(
        start_worker,
        LEDGERX_SEALING_KEYS=str(tmp_path / "sealing-keys.json"),
        LEDGERX_WEBHOOKS_ALLOW_PRIVATE="true",
        LEDGERX_WEBHOOKS_TIMEOUT_S="1",
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver


async def hook(database: Database, keys: SealingKeys, journal: Journal, receiver: Receiver) -> tuple[Site, str]:
    """The site and the secret of a new endpoint of a journal's tenant."""
    name = f"{journal.tenant_id}"
    async with await db.connect(database.api_url, application_name="test") as connection:
        _, secret = await webhooks.create_endpoint(
            connection, journal.tenant_id, Target(url=receiver.url(name)), keys=keys, author=SYSTEM
        )
    return receiver.site(name), secret


def firsts(numbers: list[int]) -> list[int]:
    """Each number where it comes first."""
    return list(dict.fromkeys(numbers))


async def test_every_event_reaches_topic_and_receivers_in_order_though_a_worker_is_killed(
    database: Database,
    engine: Engine,
    kafka_server: Kafka,
    producer: AIOKafkaProducer,
    receiver: Receiver,
    keys: SealingKeys,
    start_deliverer: Callable[[], Worker],
) -> None:
    journals = [await new_journal(database, engine) for _ in range(6)]
    sites = [await hook(database, keys, journal, receiver) for journal in journals]
    workers = [start_deliverer(), start_deliverer()]
    await until(lambda: [len(worker.partitions()) for worker in workers] == [2, 2])
    for _ in range(10):
        for journal in journals:
            await journal.post(3)
    for journal in journals:
        await deliver(producer, journal, journal.payloads())

    await until(lambda: sum(len(site.received) for site, _ in sites) > 20)
    workers[0].kill()
    for journal in journals:
        await journal.post(5)
        await deliver(producer, journal, journal.payloads()[-1:])
    await until(lambda: all(site.received and site.seqs[-1] == 41 for site, _ in sites))
    # Receivers may be ahead of the topic: they get what is recorded.
    await until(lambda: {(one.tenant_id, NAME): 41 for one in journals}.items() <= heads(database).items())
    assert workers[1].terminate() == 0

    async with db.pool(database.api_url, application_name="test", max_size=1) as pool:
        feeds = {one.tenant_id: (await read_feed(pool, one.tenant_id, after=0, limit=99)).entries for one in journals}
    for journal, (site, secret) in zip(journals, sites, strict=True):
        assert firsts(site.seqs) == list(range(7, 42))
        wanted = {entry.seq: encode_event(journal.tenant_id, entry) for entry in feeds[journal.tenant_id]}
        for received in site.received:
            received.verify(secret)
            assert received.body == wanted[received.seq]
    published = await entries_of(kafka_server.access, journals)
    for tenant_id, messages in published.items():
        bodies = [body for body, _ in messages]
        assert list(dict.fromkeys(bodies)) == [encode_event(tenant_id, entry) for entry in feeds[tenant_id]]
        assert {headers["content-type"] for _, headers in messages} == {b"application/cloudevents+json"}


async def test_the_head_of_entries_waits_until_they_are_kept(
    database: Database, engine: Engine, kafka_server: Kafka
) -> None:
    """What is published and not committed comes again, and in order; what others published does not."""
    journal = await new_journal(database, engine)
    await journal.post(2)
    access = KafkaAccess(KafkaSettings(kafka=kafka_server.bootstrap))
    await prepare(access)
    messages = [decode(payload) for payload in journal.payloads()]
    committed: list[int] = []
    async with (
        db.pool(database.streams_url, application_name="test", max_size=4) as pool,
        entries_publisher(access) as sending,
    ):
        one = Projector(entries_projection(sending, lambda: committed.append(1)), pool)
        await one.apply(journal.tenant_id, messages[:1])
        assert heads(database)[journal.tenant_id, NAME] == 6
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            connection.execute("ALTER TABLE ledgerx.webhook_endpoints RENAME TO hidden")
            with pytest.raises(psycopg.Error):
                await one.apply(journal.tenant_id, messages[1:])
            connection.execute("ALTER TABLE ledgerx.hidden RENAME TO webhook_endpoints")
        assert heads(database)[journal.tenant_id, NAME] == 6
        other = Projector(entries_projection(sending), pool)
        await other.apply(journal.tenant_id, messages)
        # Believes the head to be where it was, and publishes nothing.
        await one.apply(journal.tenant_id, messages[1:])
    assert committed == [1]
    assert await published_seqs(kafka_server.access, journal) == [*range(1, 9), 7, 8]
