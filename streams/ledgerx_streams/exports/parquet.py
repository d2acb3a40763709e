"""Rows as Parquet, row group by row group.

The writer pulls its rows and pushes its bytes, both in a thread of its own; each end of it waits for the other, so no
more than a row group and a page are in memory.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import write_parquet

from ledgerx.journal import microseconds
from ledgerx_streams.exports.tables import Column, Kind, Page, Row
from ledgerx_streams.exports.text import plain

# Each may hold 16 KiB of metadata.
ROWS_PER_GROUP = 8_192
_COMPRESSION = "zstd(3)"
_TIME = DataType.timestamp("us", tz="UTC")
_TYPES = {
    Kind.TEXT: DataType.utf8(),
    Kind.FREE_TEXT: DataType.utf8(),
    Kind.NUMBER: DataType.int64(),
    Kind.TIME: _TIME,
    Kind.JSON: DataType.utf8(),
}


T = TypeVar("T")


class _ClosedError(Exception):
    """Nobody wants the rest."""


async def parquet_chunks(
    columns: Sequence[Column], pages: AsyncIterator[Page], metadata: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    """One file with `metadata` in its footer."""
    pipe = _Pipe(columns, pages, asyncio.get_running_loop())
    writing = asyncio.create_task(asyncio.to_thread(pipe.write, metadata))
    try:
        while (chunk := await pipe.chunks.get()) is not None:
            yield chunk
        await writing
    finally:
        pipe.close()
        await asyncio.wait({writing})
    if pipe.failure is not None:
        raise pipe.failure


class _Pipe:
    """The two ends of the writer's thread."""

    def __init__(self, columns: Sequence[Column], pages: AsyncIterator[Page], loop: asyncio.AbstractEventLoop) -> None:
        self._columns = columns
        self._pages = pages
        self._loop = loop
        self._closed = threading.Event()
        self._waiting: set[asyncio.Task[Any]] = set()
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue(2)
        self.failure: BaseException | None = None

    def write(self, metadata: Mapping[str, str]) -> None:
        """Write the file; runs in the thread."""
        schema = Schema([Field(column.name, _TYPES[column.kind]) for column in self._columns])
        batches = RecordBatchReader.from_batches(schema, self._batches(schema))
        try:
            write_parquet(
                batches,
                _Sink(self),  # type: ignore[arg-type]
                compression=_COMPRESSION,
                max_row_group_size=ROWS_PER_GROUP,
                key_value_metadata=dict(metadata),
            )
        except Exception as error:  # noqa: BLE001 - the writer wraps what its rows raise; whoever reads raises it
            self.failure = self.failure or error
        finally:
            if not self._closed.is_set():
                self.push(None)

    def close(self) -> None:
        """Let the thread end soon, wherever it is."""
        self._closed.set()
        for task in self._waiting:
            task.cancel()

    def push(self, chunk: bytes | None) -> None:
        """Hand a chunk over, once there is room; from the thread. Raises `_ClosedError`."""
        self._wait(self.chunks.put(chunk))

    def _batches(self, schema: Schema) -> Iterator[RecordBatch]:
        while True:
            try:
                page = self._wait(self._next_page())
            except BaseException as error:
                self.failure = error
                raise
            if page is None:
                return
            if page.rows:
                yield _batch(self._columns, page.rows, schema)

    async def _next_page(self) -> Page | None:
        return await anext(self._pages, None)

    def _wait(self, step: Coroutine[Any, Any, T]) -> T:
        """Have the loop take a step, and wait for it in the thread."""

        async def run() -> T:
            task = asyncio.ensure_future(step)
            if self._closed.is_set():
                task.cancel()
            self._waiting.add(task)
            try:
                return await task
            except asyncio.CancelledError:
                raise _ClosedError from None
            finally:
                self._waiting.discard(task)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()


class _Sink:
    """What the writer takes for a file."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    def write(self, chunk: bytes) -> int:
        """Take the next bytes."""
        self._pipe.push(bytes(chunk))
        return len(chunk)

    def flush(self) -> None:
        """Nothing is held back."""

    def seek(self, *_where: int) -> int:
        """Refused: what is written has gone. The writer asks that a file can, and never does it."""
        raise OSError("a stream cannot seek")


def _batch(columns: Sequence[Column], rows: Sequence[Row], schema: Schema) -> RecordBatch:
    values = zip(*rows, strict=True)
    return RecordBatch.from_arrays(
        [_array(column.kind, list(column_values)) for column, column_values in zip(columns, values, strict=True)],
        schema=schema,
    )


def _array(kind: Kind, values: list[Any]) -> Array:
    if kind is Kind.TIME:
        numbers = [None if value is None else microseconds(value) for value in values]
        return Array(numbers, DataType.int64()).cast(_TIME)
    if kind is Kind.JSON:
        values = [plain(value) for value in values]
    return Array(values, _TYPES[kind])
