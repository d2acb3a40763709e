"""A journal in a file, so that it can be kept and verified far from the ledger: one JSON value a line (NDJSON).

The first line says whose journal it is and where it ends, the others are its entries in order, in the form of the
journal's messages. docs/journal-format.md has the format; whoever knows it can verify a file without this program.
"""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import BinaryIO, Literal
from uuid import UUID

import msgspec

from ledgerx import events, rows
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.errors import NotFound
from ledgerx.journal import ENCODING, Entry
from ledgerx.verify import PAGE, Audit, Report

# A line has one entry of at most `events.MAX_PAYLOAD_BYTES`.
MAX_LINE_BYTES = 4 * 1024 * 1024

_queries = Queries("ledgerx", "sql/verify.sql")
_encode = msgspec.json.Encoder().encode


class JournalFileHead(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: the journal of `tenant` up to the entry `last`, whose hash is `hash`."""

    format: Literal["ledgerx.journal"] = "ledgerx.journal"
    version: Literal[1] = 1
    encoding: int = ENCODING
    tenant: UUID
    last: int
    hash: bytes
    recorded_at: datetime


class NotAJournalFileError(Exception):
    """The file does not begin as a file of a journal does."""


# What reading a damaged or compressed file raises.
_UNREADABLE = (msgspec.DecodeError, ValueError, OSError, EOFError, zlib.error)
_decode_head = msgspec.json.Decoder(JournalFileHead).decode
_decode_entry = msgspec.json.Decoder(events.EntryRecord).decode


async def journal_lines(connection: Connection, tenant_id: UUID) -> AsyncIterator[tuple[bytes, int, int]]:
    """The lines of a tenant's journal up to its present head, each with the number of entries so far and in all.

    It is read in short pages, while the ledger goes on working. Raises `NotFound` for an unknown tenant.
    """
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.head, {"tenant_id": tenant_id}, binary=True)
    row = await cursor.fetchone()
    if row is None:
        raise NotFound("there is no such tenant")
    last, head_hash, recorded_at = row
    head = JournalFileHead(tenant=tenant_id, last=last, hash=head_hash, recorded_at=recorded_at)
    yield _line(head), 0, last
    for first in range(1, last + 1, PAGE):
        seqs = range(first, min(first + PAGE, last + 1))
        async with tenant_scope(connection, tenant_id, read_only=True):
            entries = await rows.read_entries(connection, tenant_id, seqs)
        for entry in entries:
            yield _line(events.record(entry)), entry.seq, last


def verify_file(file: BinaryIO, *, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Report:
    """Verify the journal in `file` as `ledgerx.verify.verify` verifies a stored one, as far as it can be read.

    `progress` is told the entries done and their total. Raises `NotAJournalFileError` when there is no telling whose
    journal it is.
    """
    try:
        head = _decode_head(file.readline(MAX_LINE_BYTES))
    except _UNREADABLE as error:
        raise NotAJournalFileError(f"this is not a file of a journal: {error}") from None
    if head.encoding != ENCODING:
        raise NotAJournalFileError(f"its encoding is version {head.encoding}, this program knows version {ENCODING}")
    audit = Audit(head.tenant)
    try:
        for entry in _entries(file):
            audit.feed(entry)
            if audit.entries % PAGE == 0:
                progress(audit.entries, head.last)
    except _UNREADABLE as error:
        audit.find(None, f"line {audit.entries + 2} cannot be read: {error}")
    audit.finish(head.last, head.hash)
    progress(audit.entries, head.last)
    return audit.report(head.last)


def _entries(file: BinaryIO) -> Iterator[Entry]:
    while line := file.readline(MAX_LINE_BYTES):
        entry = events.entry(_decode_entry(line))
        times = (entry.recorded_at, entry.effective_at, entry.expires_at)
        if any(time is not None and time.tzinfo is None for time in times):
            raise ValueError("a time without its offset")
        yield entry


def _line(value: msgspec.Struct) -> bytes:
    return _encode(value) + b"\n"
