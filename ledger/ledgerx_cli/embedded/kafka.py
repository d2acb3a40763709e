"""Apache Kafka 4.3.1: one broker that is its own controller (KRaft), on loopback and where asked on a network."""

import asyncio
import base64
import hashlib
import shutil
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ledgerx.events import TOPIC_JOURNAL
from ledgerx.exports import TOPIC_EXPORTS
from ledgerx_cli.embedded import jars, java
from ledgerx_cli.ports import LOOPBACK, free_ports
from ledgerx_cli.supervisor import Part
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings
from ledgerx_streams.topics import make_missing

VERSION = "4.3.1"
JARS = f"kafka-{VERSION}-jars.lock"
JOURNAL_PARTITIONS = 4
_REPLICAS = 3
_CHECKPOINT = f"kafka-{VERSION}-bootstrap.checkpoint"
_MAIN_CLASS = "kafka.Kafka"
_AOT_CACHE_SINCE = 25

_JVM_OPTIONS = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)

# A broker that was killed is let in again when its last session has run out.
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
log.dirs=log
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,NETWORK:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller_port}
auto.create.topics.enable=false
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=3000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
"""


class Network(msgspec.Struct, frozen=True):
    """A door to a network: the address `host` is listened on, at the port of the `advertised` host and port."""

    host: str
    advertised: tuple[str, int]


class _Ports(msgspec.Struct, frozen=True):
    client: int = 0
    controller: int = 0


class Kafka(msgspec.Struct, frozen=True, kw_only=True):
    """A broker with its data below `directory`, run by `java` with the jars in `class_path`."""

    directory: Path
    java: java.Java
    class_path: tuple[Path, ...]
    port: int

    @property
    def access(self) -> KafkaAccess:
        """How clients reach it."""
        return KafkaAccess(KafkaSettings(kafka=self.bootstrap))

    @property
    def bootstrap(self) -> str:
        """The bootstrap servers."""
        return f"{LOOPBACK}:{self.port}"

    def part(self) -> Part:
        """The broker as a part of a platform."""
        class_path = ":".join(map(str, self.class_path))
        properties = str(self.directory / "server.properties")
        return Part(
            name="kafka",
            command=(
                *(str(self.java.path), *_JVM_OPTIONS, *self._archive_options()),
                *("-cp", class_path, _MAIN_CLASS, properties),
            ),
            # Relative paths in the properties, since their format gives commas and other characters a meaning.
            directory=self.directory,
            ready=partial(accepts_connections, self.port),
            # The first run writes its class archive when it stops.
            stop_timeout_s=60,
        )

    def _archive_options(self) -> tuple[str, ...]:
        """Let the first run write down its loaded classes when it ends, and later ones start from that."""
        build = hashlib.sha256(f"{self.java.build}{self.class_path}{_JVM_OPTIONS}".encode()).hexdigest()[:16]
        archive = jars.cache_directory() / f"kafka-{VERSION}-{build}.classes"
        if self.java.version >= _AOT_CACHE_SINCE:
            return (f"-XX:{'AOTCache' if archive.exists() else 'AOTCacheOutput'}={archive}",)
        return (f"-XX:{'SharedArchiveFile' if archive.exists() else 'ArchiveClassesAtExit'}={archive}",)


def prepare(directory: Path, *, progress: Callable[[int, int], None], network: Network | None = None) -> Kafka:
    """Fetch what is missing, format `directory` on the first call, and write the settings of the broker. Blocks.

    The ports on loopback are those of the last time, or free ones where somebody else took them. `progress` gets the
    bytes done and the bytes due of a download. Raises `ConfigurationError` without a Java, and `DownloadFailed`.
    """
    class_path = jars.fetch(jars.locked(JARS), jars.cache_directory() / f"kafka-{VERSION}", progress=progress)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    logs = directory / "log"
    if not logs.exists():
        _format(logs)
    remembered = directory / "ports.json"
    last = msgspec.json.decode(remembered.read_bytes(), type=_Ports) if remembered.exists() else _Ports()
    ports = _Ports(*free_ports(last.client, last.controller))
    remembered.write_bytes(msgspec.json.encode(ports))
    properties = _PROPERTIES.format(controller_port=ports.controller) + _listeners(ports, network)
    (directory / "server.properties").write_text(properties, encoding="ascii")
    return Kafka(directory=directory, java=java.find(), class_path=class_path, port=ports.client)


def _listeners(ports: _Ports, network: Network | None) -> str:
    """The settings of the addresses. The broker tells clients the address of the listener that they came by."""
    listeners = {"CLIENT": (LOOPBACK, ports.client)}
    advertised = dict(listeners)
    if network is not None:
        listeners["NETWORK"] = (network.host, network.advertised[1])
        advertised["NETWORK"] = network.advertised
    listeners["CONTROLLER"] = (LOOPBACK, ports.controller)

    def said(addresses: Mapping[str, tuple[str, int]]) -> str:
        return ",".join(f"{name}://{host}:{port}" for name, (host, port) in addresses.items())

    return f"listeners={said(listeners)}\nadvertised.listeners={said(advertised)}\n"


async def accepts_connections(port: int) -> bool:
    """Whether the broker serves clients: it does not listen for them before."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True


async def create_topics(access: KafkaAccess) -> None:
    """Make the topics of the platform that are not there yet, on three brokers where there are so many.

    Raises `KafkaError`.
    """
    admin = AIOKafkaAdminClient(**access.aiokafka())
    try:
        await admin.start()
        brokers = len((await admin.describe_cluster())["brokers"])
        replicas = min(_REPLICAS, brokers)
        journal = NewTopic(TOPIC_JOURNAL, JOURNAL_PARTITIONS, replicas)
        await make_missing(admin, [journal, NewTopic(TOPIC_EXPORTS, 1, replicas)])
    finally:
        await admin.close()


def _format(logs: Path) -> None:
    """What Kafka's own storage tool would write, without the start of a second JVM."""
    unfinished = logs.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    properties = {"version": "1", "cluster.id": _random_id(), "directory.id": _random_id(), "node.id": "1"}
    text = "".join(f"{name}={value}\n" for name, value in properties.items())
    (unfinished / "meta.properties").write_text(text, encoding="ascii")
    (unfinished / "bootstrap.checkpoint").write_bytes(
        (files("ledgerx_cli.embedded") / "data" / _CHECKPOINT).read_bytes()
    )
    unfinished.rename(logs)


def _random_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
