"""What `ledgerx up` is told: the parts that it runs, and what takes the place of others."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from ledgerx import settings
from ledgerx.errors import ConfigurationError
from ledgerx.settings import FILE_SUFFIX, PREFIX, Secret
from ledgerx_cli.ports import LOOPBACK, local_address
from ledgerx_streams.kafka_access import KafkaSettings

# In the order of their start.
OwnPart: TypeAlias = Literal["relay", "streams", "api"]
PartName: TypeAlias = Literal["postgres", "kafka", OwnPart]
OWN_PARTS: tuple[OwnPart, ...] = get_args(OwnPart)
PARTS: tuple[PartName, ...] = get_args(PartName)

_LAST_PORT = 65535
_Port: TypeAlias = Annotated[int, Meta(ge=1, le=_LAST_PORT)]
_ADDRESS = re.compile(r"[A-Za-z0-9.-]+:(\d{1,5})")
# Each part is told its own.
_NOT_INHERITED = ("DATABASE_URL", "DATABASES", "POSTGRES_PASSWORD", "MANAGEMENT_HOST", "MANAGEMENT_PORT")


class UpSettings(msgspec.Struct, frozen=True):
    """What takes the place of embedded servers and generated files, and doors to a network.

    `database_url` is the libpq URL of an administrator. `databases` has the folders `api`, `relay` and `streams`, each
    with the log-ins of that part to databases which somebody else migrates. `kafka` are bootstrap servers: how to reach
    those is said by the settings of every part that uses Kafka. `kafka_advertised` is the `host:port` that a network
    knows the embedded Kafka by. Keys are files.
    """

    database_url: Secret | None = None
    databases: Path | None = None
    kafka: str | None = None
    postgres_password: Secret | None = None
    postgres_tcp_port: _Port | None = None
    kafka_advertised: str | None = None
    keys: Path | None = None
    sealing_keys: Path | None = None
    checkpoint_keys: Path | None = None
    issuer: str | None = None
    webhooks_allow_private: bool = False
    management_host: str = LOOPBACK
    management_port: _Port | None = None

    @property
    def kafka_address(self) -> tuple[str, int] | None:
        """Host and port of `kafka_advertised`."""
        host, _, port = (self.kafka_advertised or "").partition(":")
        return (host, int(port)) if port else None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run: `parts`, reached from a network at `host`, the API at its `port`."""

    parts: frozenset[PartName]
    host: str
    port: int
    settings: UpSettings

    @property
    def own_parts(self) -> tuple[OwnPart, ...]:
        """The platform's own parts, in the order of their start."""
        return tuple(part for part in OWN_PARTS if part in self.parts)

    @property
    def base_url(self) -> str:
        """The API as this machine reaches it."""
        return f"http://{local_address(self.host)}:{self.port}"


def load_plan(parts: frozenset[PartName], *, host: str, port: int) -> Plan:
    """The plan that the environment makes of the command's options; takes out of it what parts must not inherit.

    Raises `ConfigurationError` where a setting is wrong or of no use, and where a part lacks what it needs.
    """
    loaded = settings.load(UpSettings)
    for name in _NOT_INHERITED:
        os.environ.pop(PREFIX + name, None)
        os.environ.pop(PREFIX + name + FILE_SUFFIX, None)
    if loaded.kafka is None and (unused := _first_set(msgspec.structs.fields(KafkaSettings))):
        raise ConfigurationError(f"{unused} has no use without {PREFIX}KAFKA")
    if loaded.database_url is not None and loaded.databases is not None:
        raise ConfigurationError(f"{PREFIX}DATABASE_URL and {PREFIX}DATABASES are both set")
    if loaded.kafka_advertised is not None and not _is_address(loaded.kafka_advertised):
        raise ConfigurationError(f"{PREFIX}KAFKA_ADVERTISED is no host:port")
    plan = Plan(parts=parts, host=host, port=port, settings=loaded)
    _check_needs(plan)
    return plan


def _is_address(text: str) -> bool:
    address = _ADDRESS.fullmatch(text)
    return address is not None and 0 < int(address[1]) <= _LAST_PORT


def _first_set(fields: tuple[msgspec.structs.FieldInfo, ...]) -> str | None:
    names = (PREFIX + field.name.upper() + suffix for field in fields for suffix in ("", FILE_SUFFIX))
    return next((name for name in names if name in os.environ), None)


def _check_needs(plan: Plan) -> None:
    given = plan.settings
    has_database = given.database_url is not None or given.databases is not None or "postgres" in plan.parts
    has_kafka = given.kafka is not None or "kafka" in plan.parts
    for part in plan.own_parts:
        if not has_database:
            raise ConfigurationError(f"{part} needs a database: run postgres too, or set {PREFIX}DATABASE_URL")
        if not has_kafka and part != "api":
            raise ConfigurationError(f"{part} needs a Kafka: run kafka too, or set {PREFIX}KAFKA")
