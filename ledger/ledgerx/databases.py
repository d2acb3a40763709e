"""The databases that a process works with: one by its URL, or one for each file of a directory, read again and again.

A mounted Secret of Kubernetes is such a directory: the kubelet replaces all of its files at once, behind the link
`..data`. What runs for a database is a task of its own, so that one which fails or is away holds up no other.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import structlog

from ledgerx.errors import ConfigurationError
from ledgerx.settings import Secret

# What the database is called that comes by its URL.
ALONE = "default"
# How soon a database that was added, changed or removed is noticed.
EVERY_S = 2.0
MAX_DATABASES = 500
MAX_URL_BYTES = 4_096
# A label of DNS (RFC 1123), short enough that a replication slot can be named for it.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_RESTART_S = 1.0
# What a libpq URL begins with.
SCHEMES = ("postgresql://", "postgres://")

C = TypeVar("C")
_log = structlog.get_logger()


def reader(
    url: Secret | None, directory: Path | None, *, variables: tuple[str, str] = ("DATABASE_URL", "DATABASES")
) -> Callable[[], Mapping[str, Secret]]:
    """What reads the URLs of the databases by their names: that of `url`, or those of `directory`.

    Raises `ConfigurationError`, with the names of the `variables`, unless there is one of the two and it can be used.
    """
    one, many = (f"LEDGERX_{name}" for name in variables)
    if url is not None and directory is not None:
        raise ConfigurationError(f"{one} and {many} are both set")
    if url is not None:
        return lambda: {ALONE: url}
    if directory is None:
        raise ConfigurationError(f"neither {one} nor {many} is set")
    if not directory.is_dir():
        raise ConfigurationError(f"{many}: {directory} is no directory")
    return DatabaseDirectory(directory).read


class DatabaseDirectory:
    """A directory with a file for each database: its name is the database's, its content a libpq URL."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._refused: dict[str, str] = {}

    def read(self) -> Mapping[str, Secret]:
        """The URLs by name, without the files that hold none, of which the log tells once. Raises `OSError`."""
        found: dict[str, Secret] = {}
        refused: dict[str, str] = {}
        for path in sorted(self._directory.iterdir()):
            if path.name.startswith("."):
                continue
            with path.open("rb") as file:
                content = file.read(MAX_URL_BYTES + 1)
            url = content.decode(errors="replace").strip()
            if NAME.fullmatch(path.name) is None:
                refused[path.name] = "the name of a database has at most 40 characters of a-z, 0-9 and -"
            elif len(content) > MAX_URL_BYTES or not url.startswith(SCHEMES):
                refused[path.name] = f"it holds no postgresql:// URL of at most {MAX_URL_BYTES} bytes"
            elif len(found) >= MAX_DATABASES:
                refused[path.name] = f"there are {MAX_DATABASES} databases before it"
            else:
                found[path.name] = Secret(url)
        for name in refused.keys() - self._refused.keys():
            _log.error("file of a database passed over", file=name, reason=refused[name])
        self._refused = refused
        return found


async def serve_each(
    read: Callable[[], Mapping[str, C]],
    serve: Callable[[str, C], Coroutine[Any, Any, None]],
    *,
    every_s: float = EVERY_S,
) -> NoReturn:
    """Run `serve` for each database that `read` returns, by its name and what is known of it, until cancelled.

    It is cancelled when its database is gone, or something else is known of it, and then begins anew; it does so too
    when it fails. What cannot be read stays as it was.
    """
    running: dict[str, tuple[C, asyncio.Task[None]]] = {}
    async with asyncio.TaskGroup() as tasks:
        while True:
            try:
                # Some small files in memory: a thread would cost more.
                wanted = read()
            except OSError as error:
                _log.warning("databases not read", error=str(error))
            else:
                ended = [running.pop(name) for name, (known, _) in [*running.items()] if wanted.get(name) != known]
                for _, task in ended:
                    task.cancel()
                if ended:
                    await asyncio.wait([task for _, task in ended])
                for name in wanted.keys() - running.keys():
                    running[name] = wanted[name], tasks.create_task(_persist(serve, name, wanted[name]))
            await asyncio.sleep(every_s)


async def _persist(serve: Callable[[str, C], Coroutine[Any, Any, None]], name: str, known: C) -> None:
    task = asyncio.current_task()
    # A cancellation that meets a failure drowns in it.
    while task and not task.cancelling():
        try:
            await serve(name, known)
        except Exception:  # noqa: BLE001 - a fault of ours with one database must not end the work on the others
            _log.exception("work on a database failed, it begins anew", database=name)
        await asyncio.sleep(_RESTART_S)
