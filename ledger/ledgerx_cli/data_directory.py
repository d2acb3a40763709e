"""The data directory of a platform: what lies where, its private files, and the lock that one platform holds on it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from ledgerx.errors import ConfigurationError

S = TypeVar("S", bound=msgspec.Struct)


class DataDirectory:
    """The paths below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.postgres = self.root / "postgres"
        self.kafka = self.root / "kafka"
        self.logs = self.root / "logs"
        self.run = self.root / "run"
        self.exports = self.root / "exports"
        self.keys = self.root / "keys.json"
        self.sealing_keys = self.root / "sealing-keys.json"
        self.checkpoint_keys = self.root / "checkpoint-keys.json"
        self.secrets = self.root / "secrets.json"
        self.demo = self.root / "demo.json"
        self.demo_netrc = self.root / "demo.netrc"
        self.platform = self.root / "platform.json"
        self._lock = self.root / "lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory and hold it for one platform. Raises `ConfigurationError` naming the one that has it."""
        try:
            # Others may pass, not look: PostgreSQL may run under another account.
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            for path in (self.logs, self.run, self.exports):
                path.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"cannot use {self.root} as the data directory: {error.strerror}") from None
        try:
            if not _try_lock(descriptor, fcntl.LOCK_EX):
                holder = os.pread(descriptor, 20, 0).decode()
                raise ConfigurationError(f"{self.root} is in use by another platform (process {holder})")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether a platform runs on it."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` at once with `content`, readable by the owner only."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def write_private_json(path: Path, value: msgspec.Struct) -> None:
    """`write_private` of `value` as indented JSON."""
    write_private(path, msgspec.json.format(msgspec.json.encode(value)) + b"\n")


def read_json(path: Path, kind: type[S]) -> S:
    """Read what `write_private_json` wrote. Raises `ConfigurationError` on anything else but `FileNotFoundError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{path} is damaged: {error}") from None
