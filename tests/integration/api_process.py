"""The API as a process that tests start, end and kill."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from uuid import UUID

from ledgerx.keys import read_keyset, write_new_keyset
from ledgerx.logins import Database
from ledgerx.sealing import write_new_sealing_keys
from ledgerx_api.tokens import Principal, Tokens
from ledgerx_cli.ports import free_port
from tests.integration.ledger_client import READ_WRITE

_POLL_S = 0.05


class ApiProcess:
    """`ledgerx api` on `database`, with its keys, log and exports in `directory`; restarts on the same port.

    `settings` are environment variables without their prefix; an empty one is not set. Log-ins are not limited unless
    they say so: all tests come from one address.
    """

    def __init__(self, database: Database, directory: Path, **settings: str) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        # Where its health is told.
        self.health_url = f"http://127.0.0.1:{settings.get('MANAGEMENT_PORT', self.port)}"
        self.exports = directory / f"exports-{self.port}"
        self._keys = directory / f"keys-{self.port}.json"
        self.sealing_keys = directory / f"sealing-keys-{self.port}.json"
        self._log = directory / f"api-{self.port}.log"
        self._environment = {
            "LEDGERX_DATABASE_URL": database.api_url,
            "LEDGERX_KEYS": str(self._keys),
            "LEDGERX_SEALING_KEYS": str(self.sealing_keys),
            "LEDGERX_PORT": str(self.port),
            "LEDGERX_RATE_LIMIT_ADDRESS": "0",
            "LEDGERX_EXPORTS_URL": self.exports.as_uri(),
            **{f"LEDGERX_{name}": value for name, value in settings.items()},
        }
        self._environment = {name: value for name, value in self._environment.items() if value}
        self._process: subprocess.Popen[bytes] | None = None
        write_new_keyset(self._keys)
        write_new_sealing_keys(self.sealing_keys)

    def token(self, tenant_id: UUID, *, issuer: str = "ledgerx", audience: str = "ledgerx", ttl_s: int = 900) -> str:
        """A token signed with its keys, as it would give it to a client with both scopes unless said."""
        tokens = Tokens(read_keyset(self._keys), issuer=issuer, audience=audience, ttl_s=ttl_s)
        return tokens.sign(Principal(tenant_id, "client:test", READ_WRITE))

    def sign(self, principal: Principal) -> str:
        """A token of `principal`, as the API would give it."""
        return Tokens(read_keyset(self._keys), issuer="ledgerx", audience="ledgerx", ttl_s=900).sign(principal)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ledgerx_cli", "api"], env=os.environ | self._environment, stderr=output
            )
        while not self._is_ready():
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(_POLL_S)

    @property
    def pid(self) -> int:
        """The id of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        assert self._process is not None
        return self._process.wait()

    def end(self) -> int:
        """Ask it to stop, and wait for that."""
        self.send(signal.SIGTERM)
        return self.wait()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.health_url}/readyz", timeout=5) as answer:  # noqa: S310 - our own URL
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False
