"""The storage of exports, a folder and a bucket: a file is there whole or not at all."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from ledgerx.errors import ConfigurationError
from ledgerx.export_files import PART_BYTES, ExportFiles
from tests.integration.s3_server import S3Server, run_s3_server

CHUNK = bytes(range(256)) * 4096
CHUNKS = 2 * PART_BYTES // len(CHUNK) + 3


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with tempfile.TemporaryDirectory(prefix="ledgerx-s3-") as directory, run_s3_server(Path(directory)) as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[ExportFiles, Callable[[], list[str]]]:
    """A storage, and what is in it."""
    if request.param == "folder":
        folder = tmp_path / "a folder" / "exports"

        def paths() -> list[str]:
            return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

        folder.parent.mkdir()
        return ExportFiles(folder.as_uri()), paths
    server: S3Server = request.getfixturevalue("s3_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for path in server.paths():
        server.store.delete(path)
    return ExportFiles(server.url), server.paths


Storage = tuple[ExportFiles, Callable[[], list[str]]]


async def chunks(count: int = CHUNKS) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        yield CHUNK


async def write(files: ExportFiles, path: str, content: AsyncGenerator[bytes, None]) -> None:
    await files.write(path, content, media_type="text/csv", filename="x.csv")


async def test_a_file_is_what_was_written_in_any_range(storage: Storage) -> None:
    files, paths = storage

    await write(files, "t/e/1/x.csv", chunks())

    assert paths() == ["t/e/1/x.csv"]
    whole = await files.read("t/e/1/x.csv")
    assert whole.size_bytes == CHUNKS * len(CHUNK)
    assert b"".join([chunk async for chunk in whole.chunks]) == CHUNK * CHUNKS
    part = await files.read("t/e/1/x.csv", (10, 300))
    assert part.size_bytes == whole.size_bytes
    assert b"".join([chunk async for chunk in part.chunks]) == (CHUNK * 2)[10:300]


async def test_an_empty_file_is_a_file(storage: Storage) -> None:
    files, paths = storage
    await write(files, "t/e/1/x.csv", chunks(0))
    assert paths() == ["t/e/1/x.csv"]
    assert [chunk async for chunk in (await files.read("t/e/1/x.csv")).chunks] == []


async def test_what_fails_halfway_leaves_nothing(storage: Storage) -> None:
    files, paths = storage
    closed = asyncio.Event()

    async def failing() -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in chunks():
                yield chunk
            raise ZeroDivisionError
        finally:
            closed.set()

    with pytest.raises(ZeroDivisionError):
        await write(files, "t/e/1/x.csv", failing())
    assert closed.is_set()
    assert paths() == []


async def test_what_is_cancelled_halfway_leaves_nothing_and_is_closed(storage: Storage) -> None:
    files, paths = storage
    reached, closed = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in chunks():
                yield chunk
            reached.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    writing = asyncio.create_task(write(files, "t/e/1/x.csv", endless()))
    await reached.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert closed.is_set()
    # The storage gives up its part file in a thread of its own.
    while paths():  # noqa: ASYNC110 - no event crosses into it
        await asyncio.sleep(0.01)


async def test_what_is_below_a_prefix_is_removed_and_nothing_else(storage: Storage) -> None:
    files, paths = storage
    for path in ("t/e/1/x.csv", "t/e/2/x.csv", "t/e2/1/x.csv"):
        await write(files, path, chunks(1))

    await files.remove("t/e")

    assert paths() == ["t/e2/1/x.csv"]
    await files.remove("t/e")
    with pytest.raises(FileNotFoundError):
        await files.read("t/e/1/x.csv")


async def test_a_presigned_link_of_a_bucket_takes_ranges_and_expires(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    files = ExportFiles(s3_server.url)
    await write(files, "t/e/1/x.csv", chunks(1))
    link, short = await files.link("t/e/1/x.csv", ttl_s=60), await files.link("t/e/1/x.csv", ttl_s=1)
    assert link is not None
    assert short is not None
    async with aiohttp.ClientSession() as session:
        async with session.get(link, headers={"Range": "bytes=5-9"}) as answer:
            assert (answer.status, await answer.read()) == (206, CHUNK[5:10])
            assert answer.headers["Content-Disposition"] == 'attachment; filename="x.csv"'
            assert answer.content_type == "text/csv"
        async with session.get(link.replace("x.csv", "y.csv")) as answer:
            assert answer.status == 403

        async def refused() -> bool:
            async with session.get(short) as answer:
                return answer.status == 403

        while not await refused():  # noqa: ASYNC110 - it is a clock that refuses it
            await asyncio.sleep(0.1)


async def test_a_folder_has_no_presigned_links(tmp_path: Path) -> None:
    assert await ExportFiles(tmp_path.as_uri()).link("x", ttl_s=60) is None


@pytest.mark.parametrize("url", ["", "/tmp", "ftp://x/y", "s3://", "file:///proc/none/of/this"])  # noqa: S108
def test_a_storage_is_a_folder_or_a_bucket(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LEDGERX_EXPORTS_URL"):
        ExportFiles(url)
