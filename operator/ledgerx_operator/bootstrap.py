"""What the operator makes in its own namespace before it looks after anything: keys, and what its configuration lists.

So no password and no key is ever in a template, or known to whoever installs the platform.
"""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import stamina
import structlog
from httpx2 import HTTPError

from ledgerx.errors import ConfigurationError
from ledgerx.keys import new_keyset
from ledgerx.sealing import new_sealing_keys
from ledgerx_operator.cluster import Cluster
from ledgerx_operator.names import KEYS, SEALING_KEYS

_PASSWORD = "{password}"  # noqa: S105 - a placeholder
# By the name of their file, as API and streams mount them.
_KEY_FILES = {"signing.json": new_keyset, SEALING_KEYS: new_sealing_keys, "checkpoints.json": new_keyset}
_MAX_PAUSE_S = 30.0

_log = structlog.get_logger()


class ListedDatabase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A LedgerDatabase to have; the API server checks its spec."""

    name: str
    spec: Mapping[str, Any]


class AdminSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Secret with the keys `uri` and `password` to have; `uri` says `{password}` where that goes."""

    name: str
    uri: str

    def data(self) -> dict[str, bytes]:
        """What it holds, with a password that nobody knows."""
        password = secrets.token_urlsafe(32)
        return {"uri": self.uri.replace(_PASSWORD, password).encode(), "password": password.encode()}


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What the file that LEDGERX_CONFIGURATION names lists."""

    databases: Sequence[ListedDatabase] = ()
    admin_secrets: Sequence[AdminSecret] = ()


def read_configuration(path: Path | None) -> Configuration:
    """Read a file of YAML or JSON; without one nothing is listed. Raises `ConfigurationError`."""
    if path is None:
        return Configuration()
    try:
        configuration = msgspec.yaml.decode(path.read_bytes(), type=Configuration)
    except OSError as error:
        raise ConfigurationError(f"LEDGERX_CONFIGURATION: cannot read {path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"LEDGERX_CONFIGURATION: {path}: {error}") from None
    for secret in configuration.admin_secrets:
        if _PASSWORD not in secret.uri:
            raise ConfigurationError(f"LEDGERX_CONFIGURATION: the uri of {secret.name} does not say {_PASSWORD}")
    return configuration


async def bring_about(cluster: Cluster, configuration: Configuration) -> None:
    """Have what is listed, and the platform's keys; returns once all of it is there.

    Secrets that are there stay as they are. A LedgerDatabase that is not listed any more stays too.
    """
    # Asked again for as long as it takes: the definitions may be on their way, and the API server be starting.
    async for attempt in stamina.retry_context(on=_told, attempts=None, timeout=None, wait_max=_MAX_PAUSE_S):
        with attempt:
            await cluster.make_secret(KEYS, {name: msgspec.json.encode(make()) for name, make in _KEY_FILES.items()})
            for secret in configuration.admin_secrets:
                await cluster.make_secret(secret.name, secret.data())
            for database in configuration.databases:
                await cluster.apply_database(database.name, database.spec)


def _told(error: Exception) -> bool:
    if isinstance(error, HTTPError):
        _log.warning("configuration not brought about yet", error=str(error))
        return True
    return False
