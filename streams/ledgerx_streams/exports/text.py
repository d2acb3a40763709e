"""Rows as text: CSV (RFC 4180) and JSON lines."""

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ledgerx_streams.exports.datasets import Column, Kind, Page, Row

# A cell that begins so is a formula to spreadsheets (OWASP, CSV injection); an apostrophe makes it text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_encode = msgspec.json.Encoder().encode_lines


async def csv_chunks(columns: Sequence[Column], pages: AsyncIterator[Page]) -> AsyncGenerator[bytes, None]:
    """A head, then the rows of each page."""
    show = [_CELLS[column.kind] for column in columns]

    def encode(rows: Sequence[Row]) -> bytes:
        return _csv([[cell(value) for cell, value in zip(show, row, strict=True)] for row in rows])

    yield _csv([[column.name for column in columns]])
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


def moment(value: datetime) -> str:
    """A time as the API writes it."""
    return value.isoformat().replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """JSON as text."""
    return None if value is None else bytes(value).decode()


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def _free_text(value: str | None) -> str | None:
    return f"'{value}" if value is not None and value.startswith(_FORMULA) else value


_CELLS: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXT: lambda value: value,
    Kind.FREE_TEXT: _free_text,
    Kind.NUMBER: lambda value: value,
    Kind.TIME: lambda value: None if value is None else moment(value),
    # It begins with a bracket.
    Kind.JSON: plain,
}
