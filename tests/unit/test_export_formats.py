"""Rows as CSV, JSON and Parquet, whatever is in them and wherever they break off."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
import pytest
from arro3.io import read_parquet

from ledgerx_streams.exports.parquet import parquet_chunks
from ledgerx_streams.exports.tables import Column, Kind, Page, Row
from ledgerx_streams.exports.text import csv_chunks, json_chunks

COLUMNS = (
    Column("number", Kind.NUMBER),
    Column("text", Kind.FREE_TEXT),
    Column("code", Kind.TEXT),
    Column("at", Kind.TIME, optional=True),
    Column("json", Kind.JSON),
)
AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ROWS: list[Row] = [
    (1, 'a "quoted", text\r\nof two lines', "-5.00", AT, msgspec.Raw(b'{"a":[1,"x"]}')),
    (2**63 - 1, None, "x", None, None),
    (3, "@formula", "=", AT, msgspec.Raw(b"[]")),
    (4, "\u20ac\U0001f600", "", None, None),
]


async def pages(times: int = 1) -> AsyncGenerator[Page, None]:
    for number in range(times):
        yield Page(ROWS, (number + 1) / times)
        yield Page([], (number + 1) / times)


async def test_csv_reads_back_and_keeps_formulas_from_spreadsheets() -> None:
    raw = b"".join([chunk async for chunk in csv_chunks(COLUMNS, pages())])
    found = list(csv.reader(io.StringIO(raw.decode(), newline="")))
    assert found == [
        ["number", "text", "code", "at", "json"],
        ["1", 'a "quoted", text\r\nof two lines', "-5.00", "2026-01-02T03:04:05.000678Z", '{"a":[1,"x"]}'],
        [str(2**63 - 1), "", "x", "", ""],
        ["3", "'@formula", "=", "2026-01-02T03:04:05.000678Z", "[]"],
        ["4", "\u20ac\U0001f600", "", "", ""],
    ]


async def test_json_has_a_line_a_row_and_leaves_out_what_is_optional() -> None:
    raw = b"".join([chunk async for chunk in json_chunks(COLUMNS, pages())])
    first, second, *_ = [json.loads(line) for line in raw.splitlines()]
    assert first == {
        "number": 1,
        "text": ROWS[0][1],
        "code": "-5.00",
        "at": "2026-01-02T03:04:05.000678Z",
        "json": {"a": [1, "x"]},
    }
    assert second == {"number": 2**63 - 1, "text": None, "code": "x", "json": None}


async def test_parquet_reads_back_with_its_metadata() -> None:
    raw = b"".join([chunk async for chunk in parquet_chunks(COLUMNS, pages(3), {"ledgerx.sequence": "7"})])
    table = read_parquet(io.BytesIO(raw)).read_all()
    assert table.column("number").to_pylist() == [row[0] for row in ROWS] * 3
    assert table.column("text").to_pylist() == [row[1] for row in ROWS] * 3
    assert table.column("at").to_pylist() == [row[3] for row in ROWS] * 3
    assert table.column("json").to_pylist()[0] == '{"a":[1,"x"]}'
    assert b"ledgerx.sequence" in raw


async def test_parquet_fails_with_its_pages() -> None:
    async def failing() -> AsyncGenerator[Page, None]:
        yield Page(ROWS, 0.5)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async for _ in parquet_chunks(COLUMNS, failing(), {}):
            pass


async def test_parquet_that_nobody_reads_on_ends_its_thread() -> None:
    waiting, closed = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncGenerator[Page, None]:
        try:
            yield Page(ROWS, 0)
            waiting.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    reading = asyncio.create_task(anext(parquet_chunks(COLUMNS, endless(), {})))
    await waiting.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert closed.is_set()


async def test_parquet_that_is_closed_with_its_hands_full_ends_its_thread() -> None:
    async with aclosing(parquet_chunks(COLUMNS, pages(100_000), {})) as chunks:
        await anext(chunks)
    # It has ended: `aclosing` waits for it.
