"""Where the files of exports are kept: a folder, or a bucket of anything that speaks S3.

A file appears under its name when it is whole, or not at all: a folder gets it by renaming, a bucket by completing a
multipart upload.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec
import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store, from_url

from ledgerx.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult

# A bucket takes at most 10,000 parts.
PART_BYTES = 8 * 1024 * 1024
MAX_FILE_BYTES = 10_000 * PART_BYTES
_PARTS_AT_ONCE = 2
_READ_BYTES = 256 * 1024
_DESTINATION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# What a storage raises that cannot be used now.
UNUSABLE = (BaseError, OSError)


class _StoppedError(Exception):
    """Nobody writes the file any more."""


class StoredFile(msgspec.Struct, frozen=True):
    """A file of `size_bytes`, and the chunks of the part of it that was asked for."""

    size_bytes: int
    chunks: AsyncIterator[bytes]


class ExportFiles:
    """The storage at a URL: `file:///folder`, or `s3://bucket/prefix` with the AWS variables of the environment.

    Raises `ConfigurationError`, which names the `variable`, for any other URL.
    """

    def __init__(self, url: str, variable: str = "LEDGERX_EXPORTS_URL") -> None:
        parts = urlsplit(url)
        self._folder: Path | None = None
        self._store: LocalStore | S3Store
        try:
            if parts.scheme == "file":
                self._folder = Path(unquote(parts.path))
                self._store = LocalStore(self._folder, mkdir=True)
                return
            if parts.scheme == "s3":
                store = from_url(url)
                if isinstance(store, S3Store):
                    self._store = store
                    return
        except UNUSABLE as error:
            raise ConfigurationError(f"{variable}: {str(error).splitlines()[0]}") from None
        raise ConfigurationError(f"{variable}: a URL is file:///folder or s3://bucket/prefix")

    async def write(self, path: str, chunks: AsyncGenerator[bytes, None], *, media_type: str, filename: str) -> None:
        """Store what `chunks` yields; nothing is there when it raises, or when this is cancelled.

        Raises what `chunks` raises, and `UNUSABLE`.
        """
        attributes = {"Content-Type": media_type, "Content-Disposition": disposition(filename)}
        waiting: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(1)
        # Not handed to the storage as it is: cancelled, that would let go of `chunks` in the middle of a step.
        feeding = asyncio.create_task(_feed(chunks, waiting))
        try:
            await obstore.put_async(
                self._store,
                path,
                _fed(waiting),
                # A folder has no place for them; the API says them.
                attributes=attributes if self._folder is None else None,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )
        finally:
            feeding.cancel()
            await asyncio.wait({feeding})
            with suppress(asyncio.QueueFull):
                waiting.put_nowait(_StoppedError())

    async def read(self, path: str, part: tuple[int, int] | None = None) -> StoredFile:
        """A file, or from one byte to before another, read as fast as it is taken. Raises `UNUSABLE`."""
        options: GetOptions = {} if part is None else {"range": part}
        found = await obstore.get_async(self._store, path, options=options)
        return StoredFile(found.meta["size"], _bytes(found))

    async def link(self, path: str, *, ttl_s: int) -> str | None:
        """A presigned URL of a file in a bucket, good for so many seconds; None for a folder. Raises `UNUSABLE`."""
        if not isinstance(self._store, S3Store):
            return None
        return await obstore.sign_async(self._store, "GET", path, timedelta(seconds=ttl_s))

    async def remove(self, prefix: str) -> None:
        """Remove all files below a prefix, whole or not. Raises `UNUSABLE`.

        The parts of an upload that was cut off stay in a bucket until a rule of its own removes them.
        """
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder / prefix, ignore_errors=True)
            return
        async for page in obstore.list(self._store, prefix):
            await obstore.delete_async(self._store, [found["path"] for found in page])


def destinations(setting: str | None) -> dict[str, str]:
    """The URLs of the platform's destinations by name, as `LEDGERX_EXPORTS_DESTINATIONS` lists them.

    Raises `ConfigurationError`.
    """
    named = {}
    for one in (setting or "").replace(",", " ").split():
        name, is_named, url = one.partition("=")
        if not is_named or _DESTINATION.fullmatch(name) is None or name in named:
            raise ConfigurationError("LEDGERX_EXPORTS_DESTINATIONS: it lists name=url, with a-z, 0-9 and - in names")
        named[name] = url
    return named


def disposition(filename: str) -> str:
    """The header that has a browser save a file under this name; it has no characters that need quoting."""
    return f'attachment; filename="{filename}"'


async def _feed(chunks: AsyncGenerator[bytes, None], waiting: asyncio.Queue[bytes | BaseException | None]) -> None:
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                await waiting.put(chunk)
        except Exception as error:  # noqa: BLE001 - the upload raises it
            await waiting.put(error)
        else:
            await waiting.put(None)


async def _fed(waiting: asyncio.Queue[bytes | BaseException | None]) -> AsyncIterator[bytes]:
    while (chunk := await waiting.get()) is not None:
        if isinstance(chunk, BaseException):
            raise chunk
        yield chunk


async def _bytes(found: "GetResult") -> AsyncIterator[bytes]:
    async for chunk in found.stream(min_chunk_size=_READ_BYTES):
        yield bytes(chunk)
