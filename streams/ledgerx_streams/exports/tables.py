"""What a dataset is: columns, and rows of plain values that come page by page, true at one entry of the journal."""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from ledgerx.database import Pool
from ledgerx.exports import ExportFilters

Row: TypeAlias = Sequence[Any]


class Kind(Enum):
    """What the values of a column are: `str`, what clients wrote themselves, `int`, `datetime`, `msgspec.Raw`."""

    TEXT = auto()
    FREE_TEXT = auto()
    NUMBER = auto()
    TIME = auto()
    JSON = auto()


class Column(NamedTuple):
    """A column; where it is `optional` JSON leaves it out instead of null, as the API does."""

    name: str
    kind: Kind
    optional: bool = False


class Page(NamedTuple):
    """Some rows, and how far through the dataset they lead, from 0 to 1."""

    rows: Sequence[Row]
    progress: float


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Whose data is exported, at which entry it is true, and what of it is wanted."""

    tenant_id: UUID
    seq: int
    recorded_at: datetime | None
    filters: ExportFilters


class Dataset(NamedTuple):
    """Columns, and what reads the rows page by page."""

    columns: Sequence[Column]
    pages: Callable[[Pool, Cut], AsyncGenerator[Page, None]]
