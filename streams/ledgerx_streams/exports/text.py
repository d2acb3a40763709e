"""Rows as text: CSV (RFC 4180) and JSON lines."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from ledgerx import csv_cells
from ledgerx_streams.exports.tables import Column, Kind, Page, Row

_encode = msgspec.json.Encoder().encode_lines


async def csv_chunks(columns: Sequence[Column], pages: AsyncIterator[Page]) -> AsyncGenerator[bytes, None]:
    """A head, then the rows of each page."""
    show = [_CELLS[column.kind] for column in columns]

    def encode(rows: Sequence[Row]) -> bytes:
        return csv_cells.lines([[cell(value) for cell, value in zip(show, row, strict=True)] for row in rows])

    yield csv_cells.lines([[column.name for column in columns]])
    async for page in pages:
        if page.rows:
            # In a thread: the loop has projections to write meanwhile.
            yield await asyncio.to_thread(encode, page.rows)


async def json_chunks(columns: Sequence[Column], pages: AsyncIterator[Page]) -> AsyncGenerator[bytes, None]:
    """A JSON object a line."""
    names = [column.name for column in columns]
    optional = [column.name for column in columns if column.optional]

    def encode(rows: Sequence[Row]) -> bytes:
        objects = [dict(zip(names, row, strict=True)) for row in rows]
        for one in objects:
            for name in optional:
                if one[name] is None:
                    del one[name]
        return _encode(objects)

    async for page in pages:
        if page.rows:
            yield await asyncio.to_thread(encode, page.rows)


def plain(value: Any) -> Any:
    """JSON as text."""
    return None if value is None else bytes(value).decode()


_CELLS: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXT: lambda value: value,
    Kind.FREE_TEXT: csv_cells.text,
    Kind.NUMBER: lambda value: value,
    Kind.TIME: lambda value: None if value is None else csv_cells.moment(value),
    # It begins with a bracket.
    Kind.JSON: plain,
}
