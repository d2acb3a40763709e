"""Statements: an account's opening balance, its lines in a period, and its closing balance.

The first page fixes the entry that the whole statement is true at: what is recorded while it is read is left out, and
the lines of all pages lead from the opening to the closing balance.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.database import Pool, Queries
from ledgerx.errors import NotFound
from ledgerx.journal import AccountType, Layer
from ledgerx.reading import AccountLine, account_line, fetch
from ledgerx.state import Balance, Sums, balance

# Lines read at once for a statement that is streamed.
LINES_AT_ONCE = 500
_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)

_queries = Queries("ledgerx", "sql/statements.sql")


class By(StrEnum):
    """The time that a statement goes by: that of effect, or that of recording, whose lines never change again."""

    EFFECT = "effective"
    RECORDING = "recorded"


class Period(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From the moment `begin` to before the moment `end`."""

    begin: datetime = _BEFORE_ALL
    end: datetime = _BEFORE_ALL
    by: By = By.EFFECT


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A place in a statement that is true at the entry `known`: after a line, where the account's sums are these."""

    known: int
    at: datetime
    seq: int
    line: int
    sums: tuple[Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,60}$")], ...]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a statement; `following` is the place of the next page, None after the last.

    `begin_seq` and `end_seq` are the last entries up to `seq` that were recorded before the period and before its end.
    """

    account_id: int
    code: str
    asset: str
    scale: int
    type: AccountType
    seq: int
    begin_seq: int
    end_seq: int
    opening: Balance
    closing: Balance
    lines: Sequence[AccountLine]
    following: Place | None


async def read_statement(
    pool: Pool, tenant_id: UUID, code: str, period: Period, *, confined_to: str | None, after: Place | None, limit: int
) -> Statement:
    """A page of at most `limit` lines after a place, from the beginning without one.

    Raises `NotFound`, also outside of `confined_to`.
    """
    by_effect = period.by is By.EFFECT
    found = await fetch(
        pool,
        tenant_id,
        _queries.boundaries,
        code=code,
        owner=confined_to,
        seq=None if after is None else after.known,
        since=period.begin,
        until=period.end,
        by_effect=by_effect,
    )
    if not found:
        raise NotFound(f'there is no account "{code}"')
    account_id, code, asset, scale, account_type, known, begin_seq, end_seq, *sums = found[0]
    opening, closing = rows.sums(*sums[:3]), rows.sums(*sums[3:])
    kind = AccountType(account_type)
    place = after or Place(known, period.begin, 0, -1, _numbers(opening))
    page = Statement(
        account_id=account_id,
        code=code,
        asset=asset,
        scale=scale,
        type=kind,
        seq=known,
        begin_seq=begin_seq,
        end_seq=end_seq,
        opening=balance(opening, kind),
        closing=balance(closing, kind),
        lines=(),
        following=place,
    )
    lines, following = await _read_lines(pool, tenant_id, page, period, place, limit)
    return msgspec.structs.replace(page, lines=lines, following=following)


async def stream_lines(
    pool: Pool, tenant_id: UUID, statement: Statement, period: Period
) -> AsyncIterator[Sequence[AccountLine]]:
    """All lines from those of a first page on, page by page."""
    yield statement.lines
    place = statement.following
    while place is not None:
        lines, place = await _read_lines(pool, tenant_id, statement, period, place, LINES_AT_ONCE)
        yield lines


async def _read_lines(
    pool: Pool, tenant_id: UUID, statement: Statement, period: Period, place: Place, limit: int
) -> tuple[Sequence[AccountLine], Place | None]:
    by_effect = period.by is By.EFFECT
    found = await fetch(
        pool,
        tenant_id,
        _queries.lines_by_effect if by_effect else _queries.lines_by_recording,
        account_id=statement.account_id,
        seq=place.known,
        begin_seq=statement.begin_seq,
        end_seq=statement.end_seq,
        after_at=place.at,
        after_seq=place.seq,
        after_line=place.line,
        limit=limit + 1,
        **({"until": period.end, "looks": 2 * (limit + 1)} if by_effect else {}),
    )
    lines: list[AccountLine] = []
    sums = Sums(*map(int, place.sums))
    for row in found[:limit]:
        if row[0] is None:
            break
        line, sums = _line(row, sums, statement.type)
        lines.append(line)
    if len(found) > limit:
        last = lines[-1]
        at = (last.effective_at or last.recorded_at) if by_effect else place.at
        return lines, Place(place.known, at, last.seq, last.line, _numbers(sums))
    if by_effect and found[0][10] is not None:
        at, seq, number = found[0][10:]
        return lines, Place(place.known, at, seq, number, _numbers(sums))
    return lines, None


def _line(row: rows.Row, before: Sums, account_type: AccountType) -> tuple[AccountLine, Sums]:
    sums = before.plus(Layer(row[2]), int(row[3]))
    return account_line(row, balance(sums, account_type)), sums


def _numbers(sums: Sums) -> tuple[str, str, str]:
    return str(sums.posted), str(sums.pending_debit), str(sums.pending_credit)
