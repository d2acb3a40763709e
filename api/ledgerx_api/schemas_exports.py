"""Exports over the wire."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx import exports
from ledgerx.exports import Dataset, Format, Status, Wanted
from ledgerx.filters import Amount
from ledgerx.journal import AccountStatus, AccountType, Kind
from ledgerx_api.parameters import utc
from ledgerx_api.schemas import Asset, Code, Metadata, Text

_TIMES = (
    "as_of",
    "recorded_from",
    "recorded_to",
    "effective_from",
    "effective_to",
    "effective_at",
    "taken_from",
    "taken_to",
)


class ExportFilters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an export is confined to; all of it must fit. The filters are those of the lists, by the same names.

    Any export: `as_of`, a time whose last entry the file is then true at, `account` or `prefix`, `metadata`.
    Transactions and postings: `category`, `kind`, `reference`, and the ranges `recorded_*`, `effective_*` and
    `amount_*`. Balances and snapshots: `owner`, `type`, `asset` and `status` of the account. Balances: `effective_at`,
    beyond which nothing counts that takes effect later. Snapshots: the range `taken_*` of their moments.
    """

    as_of: datetime | None = None
    account: Code | None = None
    prefix: Code | None = None
    metadata: Metadata | UnsetType = UNSET
    category: Text | None = None
    kind: Kind | None = None
    reference: Text | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None
    effective_from: datetime | None = None
    effective_to: datetime | None = None
    amount_from: Amount | None = None
    amount_to: Amount | None = None
    owner: Text | None = None
    type: AccountType | None = None
    asset: Asset | None = None
    status: AccountStatus | None = None
    effective_at: datetime | None = None
    taken_from: datetime | None = None
    taken_to: datetime | None = None


class NewExport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An export to make. `beancount` is a format of transactions only: its file has the balances too."""

    format: Format
    dataset: Dataset
    filters: ExportFilters = ExportFilters()


class ExportProblem(msgspec.Struct, frozen=True):
    """Why an export failed."""

    code: str
    detail: str


class ExportDownload(msgspec.Struct, frozen=True):
    """A link to a file, good until `expires_at` for whoever has it. A relative one is of this API."""

    url: str
    expires_at: datetime


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """An export. Its file is true at the entry `sequence` of the journal, recorded at `recorded_at`.

    `progress` goes from 0 to 1; `rows` and `bytes` are those written so far. A `done` one has the `sha256` of its file
    in hexadecimal digits and is kept until `expires_at`; alone, not in a list, it comes with a link to `download`.
    """

    id: UUID
    format: Format
    dataset: Dataset
    filters: ExportFilters
    sequence: int
    recorded_at: datetime | None
    status: Status
    progress: Annotated[float, Meta(ge=0, le=1)]
    rows: int
    bytes: int
    sha256: str | None
    filename: str
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    error: ExportProblem | None
    download: ExportDownload | UnsetType = UNSET


def wanted(data: NewExport) -> Wanted:
    """What a request asks for. Raises `InvalidField`."""
    given: dict[str, Any] = {name: getattr(data.filters, name) for name in data.filters.__struct_fields__}
    given |= {name: utc(given[name], f"filters.{name}") for name in _TIMES}
    metadata = given["metadata"]
    given["metadata"] = None if metadata is UNSET else bytes(metadata).decode()
    return Wanted(format=data.format, dataset=data.dataset, filters=exports.ExportFilters(**given))


def export(found: exports.Export, download: ExportDownload | UnsetType = UNSET) -> Export:
    """An export as the API shows it."""
    filters = {name: getattr(found.filters, name) for name in found.filters.__struct_fields__}
    metadata = found.filters.metadata
    filters["metadata"] = UNSET if metadata is None else msgspec.Raw(metadata.encode())
    return Export(
        id=found.id,
        format=found.format,
        dataset=found.dataset,
        filters=ExportFilters(**filters),
        sequence=found.seq,
        recorded_at=found.recorded_at,
        status=found.status,
        progress=round(found.progress, 4),
        rows=found.rows,
        bytes=found.size_bytes,
        sha256=None if found.sha256 is None else found.sha256.hex(),
        filename=found.filename,
        requested_by=found.actor,
        requested_at=found.requested_at,
        started_at=found.started_at,
        finished_at=found.finished_at,
        expires_at=found.expires_at,
        error=None if found.failure is None else ExportProblem(found.failure.code, found.failure.detail),
        download=download,
    )
