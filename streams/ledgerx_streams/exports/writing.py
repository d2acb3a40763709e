"""From an export to the bytes of its file, counted and hashed on the way."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from ledgerx.database import Pool
from ledgerx.exports import Dataset, Format
from ledgerx_streams.exports.beancount import beancount_pieces
from ledgerx_streams.exports.datasets import DATASETS
from ledgerx_streams.exports.parquet import parquet_chunks
from ledgerx_streams.exports.tables import Cut, Page
from ledgerx_streams.exports.text import csv_chunks, json_chunks

_TEXT = {Format.CSV: csv_chunks, Format.JSONL: json_chunks}


class FileTooLargeError(Exception):
    """The file would have more bytes than one may."""


class Measures:
    """How far a file is: its rows and bytes so far, their hash, and the progress from 0 to 1."""

    def __init__(self) -> None:
        self.progress = 0.0
        self.rows = 0
        self.bytes = 0
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> bytes:
        """SHA-256 of what was written so far."""
        return self._hash.digest()

    def wrote(self, chunk: bytes) -> None:
        """Count the next bytes of the file."""
        self.bytes += len(chunk)
        self._hash.update(chunk)


async def file_chunks(
    pool: Pool, cut: Cut, dataset: Dataset, file_format: Format, measures: Measures, *, max_bytes: int
) -> AsyncGenerator[bytes, None]:
    """The file, chunk by chunk, with `measures` kept up to date. Raises `FileTooLargeError` and `psycopg.Error`."""
    async with aclosing(_chunks(pool, cut, dataset, file_format, measures)) as chunks:
        async for chunk in chunks:
            measures.wrote(chunk)
            if measures.bytes > max_bytes:
                raise FileTooLargeError(f"the file has more than {max_bytes} bytes: ask for less of it at once")
            yield chunk


async def _chunks(
    pool: Pool, cut: Cut, dataset: Dataset, file_format: Format, measures: Measures
) -> AsyncGenerator[bytes, None]:
    if file_format is Format.BEANCOUNT:
        async with aclosing(beancount_pieces(pool, cut)) as pieces:
            async for piece in pieces:
                measures.rows += piece.transactions
                measures.progress = piece.progress
                yield piece.text
        return
    columns, read = DATASETS[dataset]
    async with aclosing(_measured(read(pool, cut), measures)) as pages:
        if file_format is Format.PARQUET:
            facts = {"ledgerx.tenant": str(cut.tenant_id), "ledgerx.sequence": str(cut.seq)}
            facts["ledgerx.filters"] = msgspec.json.encode(cut.filters).decode()
            chunks = parquet_chunks(columns, pages, facts)
        else:
            chunks = _TEXT[file_format](columns, pages)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


async def _measured(pages: AsyncGenerator[Page, None], measures: Measures) -> AsyncGenerator[Page, None]:
    async with aclosing(pages):
        async for page in pages:
            measures.rows += len(page.rows)
            measures.progress = page.progress
            yield page
