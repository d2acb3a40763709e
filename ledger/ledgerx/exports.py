"""Exports: files of a tenant's data, true at one entry of the journal.

A request writes a row and, in the same transaction, an event in the outbox; the streams work it off. The entry is fixed
by the request: what was recorded before it is in the file, what comes later is not.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid_utils

from ledgerx import audit
from ledgerx.audit import Act, Author
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.errors import ExportExpired, ExportNotDone, InvalidField, NotFound, TooManyExports
from ledgerx.filters import AccountFilters, TransactionFilters
from ledgerx.journal import AccountStatus, AccountType
from ledgerx.metadata import wanted_members

AGGREGATE_EXPORT = "export"
EXPORT_REQUESTED = "export.requested"
TOPIC_EXPORTS = f"ledgerx.events.{AGGREGATE_EXPORT}"
# Of one tenant, waiting or running.
MAX_WAITING = 20
# How long a worker may say nothing before another one takes its export over.
LEASE_S = 30
# An export that has ended is shown for so long.
SHOW_DAYS = 90
# Comes after every export.
NEWEST = UUID(int=2**128 - 1)

_queries = Queries("ledgerx", "sql/exports.sql")


class Format(StrEnum):
    """What a file is written in."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    BEANCOUNT = "beancount"


class Dataset(StrEnum):
    """What a file holds."""

    TRANSACTIONS = "transactions"
    POSTINGS = "postings"
    BALANCES = "balances"
    SNAPSHOTS = "snapshots"


class Status(StrEnum):
    """How an export stands. Only a done one has a file; the last four are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8; header=present",
    Format.JSONL: "application/x-ndjson",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.BEANCOUNT: "text/plain; charset=utf-8",
}


class ExportFilters(TransactionFilters, frozen=True, kw_only=True, omit_defaults=True):
    """What an export is confined to: the filters of both lists, by the same names; None asks for nothing.

    `as_of` is the time whose last entry the file is true at, `effective_at` the time of effect of balances; moments of
    snapshots are from `taken_from` to before `taken_to`.
    """

    as_of: datetime | None = None
    owner: str | None = None
    type: AccountType | None = None
    asset: str | None = None
    status: AccountStatus | None = None
    effective_at: datetime | None = None
    taken_from: datetime | None = None
    taken_to: datetime | None = None

    @property
    def of_transactions(self) -> TransactionFilters:
        """Those that choose transactions."""
        return TransactionFilters(**{name: getattr(self, name) for name in _TRANSACTION_FILTERS})

    @property
    def of_accounts(self) -> AccountFilters:
        """Those that choose accounts, but for `account`."""
        return AccountFilters(**{name: getattr(self, name) for name in _ACCOUNT_FILTERS})


_TRANSACTION_FILTERS = TransactionFilters.__struct_fields__
_ACCOUNT_FILTERS = AccountFilters.__struct_fields__
_ANYWHERE = {"as_of", "account", "prefix", "metadata"}
_FILTERS = {
    Dataset.TRANSACTIONS: _ANYWHERE.union(_TRANSACTION_FILTERS),
    Dataset.POSTINGS: _ANYWHERE.union(_TRANSACTION_FILTERS),
    Dataset.BALANCES: _ANYWHERE.union(_ACCOUNT_FILTERS, ("effective_at",)),
    Dataset.SNAPSHOTS: _ANYWHERE.union(_ACCOUNT_FILTERS, ("taken_from", "taken_to")),
}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What an export is to be. `destination` is one of the platform's, else its file is given out by the API."""

    format: Format
    dataset: Dataset
    filters: ExportFilters = ExportFilters()
    destination: str | None = None

    def check(self) -> None:
        """Raise `InvalidField` where format, dataset and filters do not go together."""
        given = {name for name in self.filters.__struct_fields__ if getattr(self.filters, name) is not None}
        if foreign := sorted(given - _FILTERS[self.dataset]):
            raise InvalidField(f"{self.dataset} have no filter {foreign[0]}")
        if self.filters.account is not None and self.filters.prefix is not None:
            raise InvalidField("send account or prefix, not both")
        if self.filters.metadata is not None:
            wanted_members(self.filters.metadata)
        if self.format is Format.BEANCOUNT and self.dataset is not Dataset.TRANSACTIONS:
            raise InvalidField("a Beancount file has transactions; its balances are in it")


class Failure(msgspec.Struct, frozen=True):
    """Why an export failed."""

    code: str
    detail: str


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """An export, true at the entry `seq` recorded at `recorded_at` (0 and None before the first entry).

    `progress` goes from 0 to 1; `rows` and `size_bytes` are those written so far. `path` is where its file is stored,
    below `destination` if one was named.
    """

    id: UUID
    format: Format
    dataset: Dataset
    filters: ExportFilters
    seq: int
    recorded_at: datetime | None
    status: Status
    actor: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    progress: float
    rows: int
    size_bytes: int
    sha256: bytes | None
    path: str | None
    failure: Failure | None
    destination: str | None

    @property
    def file(self) -> str:
        """The path of its file to be given out. Raises `ExportNotDone` and `ExportExpired`."""
        if self.destination is not None and self.status is Status.DONE:
            raise ExportExpired("the file of this export was delivered, and is not kept here")
        if self.status is Status.EXPIRED:
            raise ExportExpired("the file of this export is not kept any more")
        if self.status is not Status.DONE or self.path is None:
            raise ExportNotDone(f"the export is {self.status}", export_status=self.status.value)
        return self.path

    @property
    def filename(self) -> str:
        """What its file is called where it is saved."""
        return filename(self.dataset, self.seq, self.format)


def filename(dataset: Dataset, seq: int, file_format: Format) -> str:
    """A name that says what a file holds, and at which entry it is true."""
    return f"{dataset}-{seq}.{file_format}"


async def request_export(
    connection: Connection,
    tenant_id: UUID,
    wanted: Wanted,
    author: Author,
    *,
    traceparent: str | None,
    max_bytes: int | None,
    export_id: UUID | None = None,
) -> Export:
    """Queue an export and tell the streams. `max_bytes` is what the files of the tenant may have taken before.

    Who asks again with the `export_id` of before gets the same export. Raises `InvalidField` and `TooManyExports`.
    """
    wanted.check()
    key = {"tenant_id": tenant_id}
    async with tenant_scope(connection, tenant_id):
        await connection.execute(_queries.lock_exports, key)
        if export_id is None:
            export_id = uuid_utils.uuid7()
        else:
            cursor = await connection.execute(_queries.export, {**key, "export_id": export_id})
            if (row := await cursor.fetchone()) is not None:
                return _export(row)
        [(waiting, kept_bytes)] = await (await connection.execute(_queries.room, key)).fetchall()
        if waiting >= MAX_WAITING:
            raise TooManyExports(f"{waiting} exports wait or run already, which is as many as may")
        if max_bytes is not None and kept_bytes >= max_bytes:
            raise TooManyExports(f"the files of exports take {kept_bytes} bytes, of {max_bytes} that they may")
        inserted = await connection.execute(
            _queries.insert_export,
            {
                **key,
                "export_id": export_id,
                "format": wanted.format,
                "dataset": wanted.dataset,
                "filters": msgspec.json.encode(wanted.filters).decode(),
                "as_of": wanted.filters.as_of,
                "actor": author.actor,
                "traceparent": traceparent,
            },
        )
        rows = await inserted.fetchall()
        if not rows:
            raise NotFound("there is no such tenant")
        if wanted.destination is not None:
            parameters = {**key, "export_id": export_id, "destination": wanted.destination}
            await connection.execute(_queries.set_destination, parameters)
        await connection.execute(
            _queries.insert_outbox,
            {
                **key,
                "id": uuid_utils.uuid7(),
                "aggregatetype": AGGREGATE_EXPORT,
                "type": EXPORT_REQUESTED,
                "payload": msgspec.json.encode({"tenant": tenant_id, "export": export_id}).decode(),
                "traceparent": traceparent,
            },
        )
        details = {"format": wanted.format, "dataset": wanted.dataset, "filters": wanted.filters}
        if wanted.destination is not None:
            details["destination"] = wanted.destination
        await audit.record(connection, tenant_id, Act.EXPORT_REQUESTED, author, f"export:{export_id}", details)
    return _export(rows[0])


async def read_export(connection: Connection, tenant_id: UUID, export_id: UUID) -> Export:
    """One export. Raises `NotFound`."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.export, {"tenant_id": tenant_id, "export_id": export_id})
    row = await cursor.fetchone()
    if row is None:
        raise NotFound("there is no such export")
    return _export(row)


async def read_exports(connection: Connection, tenant_id: UUID, *, before: UUID, limit: int) -> list[Export]:
    """At most `limit` exports, newest first, from the newest before the export `before`."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(
            _queries.exports_page, {"tenant_id": tenant_id, "before": before, "limit": limit}
        )
    return [_export(row) for row in await cursor.fetchall()]


async def end_export(connection: Connection, tenant_id: UUID, export_id: UUID, author: Author) -> None:
    """Cancel an export that waits or runs, or give up the file of a done one; one that has ended stays as it is.

    Raises `NotFound`.
    """
    key = {"tenant_id": tenant_id, "export_id": export_id}
    async with tenant_scope(connection, tenant_id):
        parameters = {**key, "grace_s": LEASE_S, "show_days": SHOW_DAYS}
        ended = await (await connection.execute(_queries.end_export, parameters)).fetchone()
        if ended is not None:
            details = {"status": ended[0]}
            await audit.record(connection, tenant_id, Act.EXPORT_ENDED, author, f"export:{export_id}", details)
        elif await (await connection.execute(_queries.export, key)).fetchone() is None:
            raise NotFound("there is no such export")


async def record_download(connection: Connection, tenant_id: UUID, export_id: UUID, author: Author) -> None:
    """Note in the audit log that somebody was given a link to the file of an export."""
    async with tenant_scope(connection, tenant_id):
        await audit.record(connection, tenant_id, Act.EXPORT_DOWNLOADED, author, f"export:{export_id}")


def _export(row: Sequence[Any]) -> Export:
    (
        export_id, file_format, dataset, filters, seq, recorded_at, status, actor, requested_at, started_at,
        finished_at, due_at, progress, rows, size_bytes, sha256, path, error_code, error_detail, destination,
    ) = row  # fmt: skip
    return Export(
        id=export_id,
        format=Format(file_format),
        dataset=Dataset(dataset),
        filters=msgspec.json.decode(filters, type=ExportFilters),
        seq=seq,
        recorded_at=recorded_at,
        status=Status(status),
        actor=actor,
        requested_at=requested_at,
        started_at=started_at,
        finished_at=finished_at,
        expires_at=due_at if status == Status.DONE and destination is None else None,
        progress=progress,
        rows=rows,
        size_bytes=size_bytes,
        sha256=sha256,
        path=path,
        failure=None if error_code is None else Failure(error_code, error_detail or ""),
        destination=destination,
    )
