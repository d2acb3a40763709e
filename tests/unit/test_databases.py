"""Databases are known by a URL or by the files of a directory, which may change at any time."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from ledgerx.databases import ALONE, MAX_DATABASES, DatabaseDirectory, reader, serve_each
from ledgerx.errors import ConfigurationError
from ledgerx.settings import Secret
from ledgerx_streams.slots import slot_of
from tests.mounted import Mounted

URL = "postgresql://ledgerx_api:secret@db.example.com/ledgerx"


def test_one_url_is_one_database() -> None:
    assert reader(Secret(URL), None)() == {ALONE: Secret(URL)}


def test_there_is_a_url_or_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="LEDGERX_DATABASE_URL and LEDGERX_DATABASES are both set"):
        reader(Secret(URL), tmp_path)
    with pytest.raises(ConfigurationError, match="neither LEDGERX_DATABASE_URL nor LEDGERX_DATABASES is set"):
        reader(None, None)
    with pytest.raises(ConfigurationError, match=r"LEDGERX_DATABASES: .*nowhere is no directory"):
        reader(None, tmp_path / "nowhere")


def test_a_directory_is_read_as_the_kubelet_mounts_a_secret(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path)
    mounted.write({"eu-1": URL + "\n"})
    read = reader(None, tmp_path)
    assert read() == {"eu-1": Secret(URL)}
    mounted.write({"eu-1": URL, "us": "postgres://us"})
    assert read() == {"eu-1": Secret(URL), "us": Secret("postgres://us")}
    mounted.write({})
    assert read() == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Upper", URL),
        ("under_score", URL),
        ("dot.ted", URL),
        ("-dash", URL),
        ("x" * 41, URL),
        ("mysql", "mysql://host/ledgerx"),
        ("empty", ""),
        ("binary", "postgresql\udcff"),
        ("long", URL + "?application_name=" + "x" * 5_000),
    ],
)
def test_files_that_are_no_database_are_passed_over(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode(errors="surrogateescape"))
    (tmp_path / "good").write_text(URL)
    (tmp_path / ".hidden").write_text(URL)
    assert DatabaseDirectory(tmp_path).read() == {"good": Secret(URL)}


def test_there_is_a_limit_on_databases(tmp_path: Path) -> None:
    for number in range(MAX_DATABASES + 1):
        (tmp_path / f"db{number}").write_text(URL)
    assert len(DatabaseDirectory(tmp_path).read()) == MAX_DATABASES


def test_slots_of_databases_on_one_server_differ() -> None:
    names = [ALONE, "a-b", "ab", "a", "x" * 40]
    slots = [slot_of("ledgerx", name) for name in names]
    assert slots == ["ledgerx", "ledgerx_a_b", "ledgerx_ab", "ledgerx_a", "ledgerx_" + "x" * 40]
    # With the suffix of the slot that a snapshot is taken by; names in Postgres have 63 bytes.
    assert max(map(len, slots)) + len("_snapshot") <= 63


class Served:
    """What is served now, by name, and how often it was begun."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.begun = 0
        self.fails = False
        self._news = asyncio.Event()

    async def serve(self, name: str, known: str) -> None:
        self.begun += 1
        self._told(name, known)
        try:
            if self.fails:
                self.fails = False
                raise ValueError(name)
            await asyncio.Event().wait()
        finally:
            del self.known[name]
            self._news.set()

    def _told(self, name: str, known: str) -> None:
        assert name not in self.known
        self.known[name] = known
        self._news.set()

    async def becomes(self, known: Mapping[str, str]) -> None:
        while self.known != known:
            self._news.clear()
            await self._news.wait()


async def test_a_database_is_served_while_it_is_there_and_anew_when_it_changed() -> None:
    wanted: dict[str, str] = {"a": "1"}
    unreadable = False

    def read() -> Mapping[str, str]:
        if unreadable:
            raise OSError("swapped meanwhile")
        return dict(wanted)

    served = Served()
    serving = asyncio.create_task(serve_each(read, served.serve, every_s=0.001))
    await served.becomes({"a": "1"})
    wanted["b"] = "1"
    await served.becomes({"a": "1", "b": "1"})
    wanted["a"] = "2"
    await served.becomes({"a": "2", "b": "1"})
    unreadable = True
    wanted.clear()
    await asyncio.sleep(0.01)
    assert served.known == {"a": "2", "b": "1"}
    unreadable = False
    await served.becomes({})
    assert served.begun == 3
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_what_fails_begins_anew_and_ends_no_other() -> None:
    served = Served()
    served.fails = True
    serving = asyncio.create_task(serve_each(lambda: {"a": "1", "b": "1"}, served.serve, every_s=0.001))
    await served.becomes({"a": "1", "b": "1"})
    assert served.begun == 3
    serving.cancel()
    await asyncio.wait({serving})
    assert served.known == {}
