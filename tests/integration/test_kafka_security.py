"""Every client of Kafka over TLS, and with SASL: topic management, the relay and the streams."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from ledgerx import settings
from ledgerx.logins import Database
from ledgerx_cli.embedded import kafka
from ledgerx_cli.supervisor import Supervisor
from ledgerx_streams import topics
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings
from ledgerx_streams.projections.entries import NAME
from tests.certificates import Authority
from tests.integration.entries_topic import published_seqs
from tests.integration.journals import assert_projected, heads, new_journal, open_engine
from tests.integration.relaying import JOURNAL, Connection, MakeRelay, eventually, record_entries
from tests.integration.secure_kafka import SecureKafka, creation_denied, start_secure_kafka, write_denied
from tests.integration.up_process import Up
from tests.integration.worker_process import StartWorker, projected, until

KINDS = ["scram", "sasl_plain", "mutual_tls"]


@pytest.fixture(scope="module")
def secure_kafka(servers_directory: Path) -> Iterator[SecureKafka]:
    directory = servers_directory / "secure"
    directory.mkdir()
    with asyncio.Runner() as runner:
        supervisor = Supervisor(run=servers_directory, logs=servers_directory, report=lambda _event: None)
        try:
            yield runner.run(start_secure_kafka(directory, supervisor))
        finally:
            runner.run(supervisor.stop())


def access(environment: dict[str, str]) -> KafkaAccess:
    return KafkaAccess(settings.load(KafkaSettings, environment))


@pytest.mark.parametrize("kind", KINDS)
async def test_topics_are_made_and_rows_relayed(
    kind: str, secure_kafka: SecureKafka, relays: MakeRelay, superuser: Connection
) -> None:
    environment: dict[str, str] = getattr(secure_kafka, kind)
    await kafka.create_topics(access(environment))
    tenant = uuid4()
    await record_entries(superuser, tenant, [1])
    relay = relays(environment)
    await relay.start()
    async with AIOKafkaConsumer(
        JOURNAL, **access(environment).aiokafka(), auto_offset_reset="earliest", group_id=None
    ) as consumer:
        async for record in consumer:
            if record.key == str(tenant).encode():
                break
    await relay.enters("streaming")


async def test_what_is_recorded_reaches_the_projections(
    secure_kafka: SecureKafka, relays: MakeRelay, database: Database, start_worker: StartWorker
) -> None:
    await relays(secure_kafka.mutual_tls).start()
    worker = start_worker(**secure_kafka.mutual_tls)
    async with open_engine(database) as engine:
        journal = await new_journal(database, engine)
        await journal.post(3)
        await until(projected(database, journal))
    assert_projected(database, journal)
    assert worker.terminate() == 0


async def test_who_may_make_no_topics_uses_those_that_are_there(secure_kafka: SecureKafka) -> None:
    await topics.prepare(access(secure_kafka.scram))
    async with creation_denied(secure_kafka.plain):
        await topics.prepare(access(secure_kafka.scram))
        admin = AIOKafkaAdminClient(**access(secure_kafka.scram).aiokafka())
        await admin.start()
        try:
            with pytest.raises(TopicAuthorizationFailedError):
                await topics.make_missing(admin, [NewTopic(f"ledgerx.{uuid4()}", 1, 1)])
        finally:
            await admin.close()


async def test_whom_the_topic_of_entries_is_forbidden_computes_all_else_and_publishes_once_allowed(
    secure_kafka: SecureKafka, relays: MakeRelay, database: Database, start_worker: StartWorker
) -> None:
    await topics.prepare(access(secure_kafka.scram))
    await relays(secure_kafka.scram).start()
    async with open_engine(database) as engine:
        journal = await new_journal(database, engine)
        async with write_denied(secure_kafka.plain, topics.TOPIC_ENTRIES):
            worker = start_worker(**secure_kafka.scram)
            for _ in range(3):
                await journal.post(3)
                await until(projected(database, journal))
            await until(lambda: b"TopicAuthorizationFailedError" in worker.log.read_bytes())
        await until(lambda: heads(database)[journal.tenant_id, NAME] == journal.last)
    assert_projected(database, journal)
    published = await published_seqs(access(secure_kafka.scram), journal)
    assert list(dict.fromkeys(published)) == list(range(1, journal.last + 1))
    assert worker.terminate() == 0


def test_the_whole_platform_runs_on_it(secure_kafka: SecureKafka, database: Database, tmp_path: Path) -> None:
    url = tmp_path / "url"
    url.write_text(database.admin_url)
    with Up(tmp_path / "data", LEDGERX_DATABASE_URL_FILE=str(url), **secure_kafka.scram) as up:
        assert up.started_parts() == {"relay", "streams", "api"}
        up.follow_the_welcome()
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            applied = "SELECT count(*) FROM ledgerx.balances"
            while connection.execute(applied).fetchone() != (2,):
                time.sleep(0.05)
        assert up.stop() == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_broker_of_another_authority_is_not_trusted(
    kind: str, secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    stranger = {"LEDGERX_KAFKA_CA_FILE": str(Authority(tmp_path, "stranger").certificate)}
    await refused({**getattr(secure_kafka, kind), **stranger})


@pytest.mark.parametrize("kind", ["scram", "sasl_plain"])
async def test_a_wrong_password_lets_nobody_in(kind: str, secure_kafka: SecureKafka) -> None:
    environment: dict[str, str] = {**getattr(secure_kafka, kind), "LEDGERX_KAFKA_PASSWORD": "guess"}
    environment.pop("LEDGERX_KAFKA_PASSWORD_FILE", None)
    await refused(environment)


async def test_without_a_client_certificate_nobody_gets_in_where_one_is_asked_for(secure_kafka: SecureKafka) -> None:
    environment = {name: value for name, value in secure_kafka.mutual_tls.items() if not name.endswith("Y_FILE")}
    del environment["LEDGERX_KAFKA_CERT_FILE"]
    await refused(environment)


async def test_a_relay_without_the_password_says_so_and_waits(
    secure_kafka: SecureKafka, relays: MakeRelay, superuser: Connection
) -> None:
    environment = {**secure_kafka.sasl_plain, "LEDGERX_KAFKA_PASSWORD": "a-wrong-guess"}
    relay = relays(environment)
    await relay.start()
    await relay.above("reconnects_total", 0)
    assert (await relay.get("/readyz"))[0] == 503
    log = relay.log.read_text()
    assert "session failed" in log
    assert "a-wrong-guess" not in log

    async def has_no_slot() -> bool:
        cursor = await superuser.execute("SELECT FROM pg_replication_slots WHERE database = current_database()")
        return await cursor.fetchall() == []

    await eventually(has_no_slot)


async def refused(environment: dict[str, str]) -> None:
    client = AIOKafkaAdminClient(**access(environment).aiokafka())
    try:
        with pytest.raises(KafkaConnectionError):
            await client.start()
    finally:
        await client.close()
