"""The jars of the broker: fetched by coordinate through jgo, which knows where, and checked against the lock."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import stamina

from ledgerx_cli.failures import CommandFailed

_PARALLEL_DOWNLOADS = 8
_READ_TIMEOUT_S = 30
_INCOMING = "incoming-"


class DownloadFailed(CommandFailed):
    """A jar could not be fetched, or is not the one in the lock."""


class Jar(msgspec.Struct, frozen=True):
    """A line of the lock."""

    coordinate: str
    size_bytes: int
    sha256: str

    @property
    def filename(self) -> str:
        """`artifact-version.jar`."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    def is_at(self, path: Path) -> bool:
        """Whether the file at `path` is this very jar."""
        if not path.is_file() or path.stat().st_size != self.size_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def cache_directory() -> Path:
    """Where downloads and what is derived from them are kept between platforms."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ledgerx"


def locked(name: str) -> tuple[Jar, ...]:
    """The jars of the lock file `name` of this package."""
    return parse_lock((files("ledgerx_cli.embedded") / "data" / name).read_text(encoding="ascii"))


def parse_lock(text: str) -> tuple[Jar, ...]:
    """The jars of a lock: a line each with coordinate, size in bytes and sha256."""
    return tuple(Jar(coordinate, int(size), sha256) for coordinate, size, sha256 in map(str.split, text.splitlines()))


def fetch(jars: Iterable[Jar], directory: Path, *, progress: Callable[[int, int], None]) -> tuple[Path, ...]:
    """Make sure that each jar is in `directory`, whole and genuine, and return the paths in order.

    `progress` gets the bytes done and the bytes due whenever a download ends. Blocks; a second process that wants the
    same waits. Raises `DownloadFailed`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    wanted = {jar: directory / jar.filename for jar in jars}
    with _alone_in(directory):
        missing = [jar for jar, path in wanted.items() if not jar.is_at(path)]
        if missing:
            _fetch_missing(missing, directory, progress)
    return tuple(wanted.values())


def _fetch_missing(missing: list[Jar], directory: Path, progress: Callable[[int, int], None]) -> None:
    done, total = 0, sum(jar.size_bytes for jar in missing)
    progress(done, total)
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        downloads = {pool.submit(_download, jar, directory): jar for jar in missing}
        try:
            for download in as_completed(downloads):
                download.result()
                done += downloads[download].size_bytes
                progress(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _download(jar: Jar, directory: Path) -> None:
    import requests  # noqa: PLC0415 - only a first start needs these two
    from jgo.maven import MavenContext  # noqa: PLC0415

    group, artifact, version = jar.coordinate.split(":")
    try:
        for attempt in stamina.retry_context(on=requests.RequestException, attempts=3):
            with attempt:
                incoming = Path(mkdtemp(prefix=_INCOMING, dir=directory))
                context = MavenContext(repo_cache=incoming, timeout=_READ_TIMEOUT_S)
                file = context.project(group, artifact).at_version(version).artifact().resolve()
    except (requests.RequestException, RuntimeError) as error:
        raise DownloadFailed(f"cannot fetch {jar.coordinate}: {error}") from None
    if not jar.is_at(file):
        raise DownloadFailed(f"{jar.coordinate} is not the file that the lock describes")
    file.replace(directory / jar.filename)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Half downloads live in these alone, also those of a process that was killed.
        for incoming in directory.glob(f"{_INCOMING}*"):
            shutil.rmtree(incoming)
        os.close(descriptor)
