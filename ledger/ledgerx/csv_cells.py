"""CSV (RFC 4180) as LedgerX writes it."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

# A cell that begins so is a formula to spreadsheets (OWASP, CSV injection); an apostrophe makes it text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows in UTF-8; None is an empty cell."""
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def text(value: str | None) -> str | None:
    """What a client wrote, as a cell that no spreadsheet runs."""
    return f"'{value}" if value is not None and value.startswith(_FORMULA) else value


def moment(value: datetime) -> str:
    """A time in UTC as JSON has it."""
    return value.isoformat().replace("+00:00", "Z")
