"""Statements as JSON and as CSV."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import msgspec

from ledgerx import csv_cells
from ledgerx.money import from_minor
from ledgerx.reading import AccountLine
from ledgerx.state import Balance as BalanceNow
from ledgerx.statements import By, Period
from ledgerx.statements import Statement as StatementFound
from ledgerx_api.schemas import AccountPosting, Balance, account_posting, shown_amounts, shown_balance

_COLUMNS = (
    "transaction",
    "kind",
    "effective_at",
    "recorded_at",
    "reference",
    "category",
    "description",
    "layer",
    "debit",
    "credit",
    "posted",
    "pending_in",
    "pending_out",
    "available",
)


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """An account's lines in a period, from the opening to the closing balance, true at the entry `sequence`.

    `begin` is inclusive and `end` is not; `by` says which time they are. Each line has the balance just after it.
    """

    account: str
    asset: str
    scale: int
    by: By
    begin: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    sequence: int
    opening: Balance
    items: list[AccountPosting]
    closing: Balance
    next_cursor: str | None


def statement(found: StatementFound, period: Period, next_cursor: str | None) -> Statement:
    """A page of a statement as the API shows it."""
    return Statement(
        account=found.code,
        asset=found.asset,
        scale=found.scale,
        by=period.by,
        begin=period.begin,
        end=period.end,
        sequence=found.seq,
        opening=shown_balance(found.opening, found.scale),
        items=[account_posting(line, found.scale) for line in found.lines],
        closing=shown_balance(found.closing, found.scale),
        next_cursor=next_cursor,
    )


async def csv_rows(found: StatementFound, pages: AsyncIterator[Sequence[AccountLine]]) -> AsyncIterator[bytes]:
    """A statement as CSV (RFC 4180), page by page: a head, the opening balance, the lines, the closing balance.

    One that lacks its closing balance was cut off.
    """
    yield csv_cells.lines([_COLUMNS, _balance_row("opening", found.opening, found.scale)])
    async for lines in pages:
        yield csv_cells.lines(_line_row(line, found.scale) for line in lines)
    yield csv_cells.lines([_balance_row("closing", found.closing, found.scale)])


def _balance_row(kind: str, now: BalanceNow, scale: int) -> Sequence[str]:
    return ("", kind, *[""] * 8, *shown_amounts(now, scale).values())


def _line_row(line: AccountLine, scale: int) -> Sequence[str]:
    amount = from_minor(abs(line.amount), scale)
    return (
        str(line.seq),
        line.kind,
        csv_cells.moment(line.effective_at or line.recorded_at),
        csv_cells.moment(line.recorded_at),
        *(csv_cells.text(one) or "" for one in (line.reference, line.category, line.description)),
        line.layer.name.lower(),
        amount if line.amount > 0 else "",
        amount if line.amount < 0 else "",
        *shown_amounts(line.running, scale).values(),
    )
