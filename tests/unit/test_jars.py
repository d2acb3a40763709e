import gc
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jgo.maven._core
import pytest

from ledgerx_cli.embedded import jars, kafka
from ledgerx_cli.embedded.jars import DownloadFailed, Jar

CONTENT = b"PK the bytes of a jar"
PATH = "/org/example/thing/1.0/thing-1.0.jar"
GENUINE = Jar("org.example:thing:1.0", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
ANOTHER = Jar("org.example:thing:1.0", len(CONTENT), hashlib.sha256(b"something else").hexdigest())
ABSENT = Jar("org.example:absent:1.0", 1, hashlib.sha256(b"").hexdigest())


class Repository(BaseHTTPRequestHandler):
    """A Maven repository with one jar."""

    def do_GET(self) -> None:
        found = self.path == PATH
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(CONTENT) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        pass


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """Takes the place of the repository that jgo knows."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Repository) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setitem(jgo.maven._core.DEFAULT_REMOTE_REPOS, "central", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


def ignore(_done_bytes: int, _total_bytes: int) -> None:
    pass


@pytest.mark.usefixtures("repository")
def test_a_genuine_jar_is_fetched_and_reported(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    paths = jars.fetch([GENUINE], tmp_path, progress=lambda done, total: progress.append((done, total)))
    assert [path.read_bytes() for path in paths] == [CONTENT]
    assert progress == [(0, len(CONTENT)), (len(CONTENT), len(CONTENT))]
    assert [path.name for path in tmp_path.iterdir()] == ["thing-1.0.jar"]


@pytest.mark.usefixtures("repository")
def test_a_jar_that_is_not_the_locked_one_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"thing:1\.0 is not the file that the lock describes"):
        jars.fetch([ANOTHER], tmp_path, progress=ignore)
    assert list(tmp_path.iterdir()) == []


# jgo leaves the answer that it has no use for to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("repository")
def test_a_jar_that_the_repository_lacks_is_a_failed_download(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"cannot fetch org\.example:absent:1\.0"):
        jars.fetch([ABSENT], tmp_path, progress=ignore)
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("repository")
def test_a_damaged_jar_and_the_rest_of_a_killed_download_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "thing-1.0.jar").write_bytes(CONTENT[:-1] + b"!")
    (tmp_path / "incoming-killed").mkdir()
    jars.fetch([GENUINE], tmp_path, progress=ignore)
    assert (tmp_path / "thing-1.0.jar").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["thing-1.0.jar"]


def test_a_jar_that_is_there_is_not_fetched_again(repository: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "thing-1.0.jar").write_bytes(CONTENT)
    repository.RequestHandlerClass = BaseHTTPRequestHandler  # answers nothing
    assert jars.fetch([GENUINE], tmp_path, progress=ignore) == (tmp_path / "thing-1.0.jar",)


@pytest.mark.usefixtures("repository")
def test_a_callback_that_raises_ends_the_download(tmp_path: Path) -> None:
    def stop(done_bytes: int, _total_bytes: int) -> None:
        if done_bytes:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        jars.fetch([GENUINE], tmp_path, progress=stop)


def test_the_lock_of_the_broker_has_its_31_jars_with_names_of_their_own() -> None:
    locked = jars.locked(kafka.JARS)
    assert len({jar.filename for jar in locked}) == len(locked) == 31
    assert all(len(jar.sha256) == 64 for jar in locked)
