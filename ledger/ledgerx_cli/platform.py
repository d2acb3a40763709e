"""How the other subcommands find a running platform: what `ledgerx up` leaves in its data directory."""

from pathlib import Path

import msgspec

from ledgerx import settings
from ledgerx.errors import ConfigurationError
from ledgerx.logins import Database
from ledgerx.settings import Secret
from ledgerx_cli.data_directory import DataDirectory, read_json


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """A running platform. `management` has the base URL of each part's management endpoint, `pids` its process."""

    base_url: str
    database: Database
    kafka: str
    management: dict[str, str]
    pids: dict[str, int]


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """The demo tenant, the credentials of its API client, and those of its owner."""

    base_url: str
    tenant: str
    client_id: str
    client_secret: str
    email: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Demo(tenant={self.tenant!r}, client_id={self.client_id!r})"


class _Owner(msgspec.Struct, frozen=True):
    database_url: Secret | None = None


def find(data: Path) -> Platform:
    """The platform that runs on the data directory `data`. Raises `ConfigurationError` when there is none."""
    directory = DataDirectory(data)
    try:
        if directory.is_locked():
            return read_json(directory.platform, Platform)
    except FileNotFoundError:
        raise ConfigurationError(f"the platform on {directory.root} is not ready yet, or no whole one") from None
    raise ConfigurationError(f"no platform is running on {directory.root}: start one with `ledgerx up`")


def demo(data: Path) -> Demo:
    """The demo tenant of the data directory `data`. Raises `ConfigurationError` when there is none."""
    try:
        return read_json(DataDirectory(data).demo, Demo)
    except FileNotFoundError:
        raise ConfigurationError(f"{data} holds no demo tenant: run `ledgerx up` once") from None


def owner_url(data: Path) -> str:
    """The libpq URL of the schema's owner: `LEDGERX_DATABASE_URL`, else that of the platform running on `data`.

    Raises `ConfigurationError` where there is neither.
    """
    given = settings.load(_Owner).database_url
    return given.reveal() if given else find(data).database.owner_url
