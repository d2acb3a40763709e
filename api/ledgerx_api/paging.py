"""Cursors: opaque to clients, they carry the list they belong to, the page size and where the next page begins."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import Parameter

from ledgerx.errors import InvalidCursor

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
# Characters; a cursor carries the filters of its list.
MAX_CURSOR = 8_192

Limit = Annotated[
    int | None,
    Parameter(ge=1, le=MAX_LIMIT, description=f"Items a page, {DEFAULT_LIMIT} unless said; a cursor remembers it."),
]
CursorParameter = Annotated[
    str | None, Parameter(max_length=MAX_CURSOR, description="`next_cursor` of the page before.")
]
P = TypeVar("P")
I = TypeVar("I")  # noqa: E741 - an item
F = TypeVar("F")
S = TypeVar("S", bound=msgspec.Struct)


class Page(msgspec.Struct, Generic[I], frozen=True):
    """A page of a list; `next_cursor` is null on the last."""

    items: list[I]
    next_cursor: str | None


class Cursor(msgspec.Struct, Generic[P], frozen=True, array_like=True):
    """Where a page begins."""

    path: str
    limit: int
    position: P


def start(path: str, cursor: str | None, limit: int | None, *, first: P, position: type[P]) -> Cursor[P]:
    """Where the page asked for begins: at `first` without a cursor; positions are of the type `position`.

    Raises `InvalidCursor`.
    """
    if cursor is None:
        return Cursor(path, limit or DEFAULT_LIMIT, first)
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        found: Cursor[P] = msgspec.json.decode(raw, type=Cursor[position])  # type: ignore[valid-type]
    except (UnicodeError, binascii.Error, msgspec.DecodeError):
        raise InvalidCursor("this is not a cursor") from None
    if found.path != path or not 1 <= found.limit <= MAX_LIMIT:
        raise InvalidCursor("this cursor belongs to another list")
    return Cursor(path, limit or found.limit, found.position)


def after(cursor: Cursor[P], position: P) -> str:
    """The cursor of the page that begins at `position`."""
    raw = msgspec.json.encode(Cursor(cursor.path, cursor.limit, position))
    return base64.urlsafe_b64encode(raw).decode()


def page(cursor: Cursor[P], found: Sequence[F], show: Callable[[F], I], position: Callable[[F], P]) -> Page[I]:
    """The page of what was `found` for `cursor.limit` + 1 items: the one too many tells that there is a next page."""
    items = found[: cursor.limit]
    more = len(found) > cursor.limit
    return Page([show(item) for item in items], after(cursor, position(items[-1])) if more else None)


def start_filtered(
    path: str, cursor: str | None, limit: int | None, filters: S, *, first: P, position: type[P]
) -> Cursor[tuple[S, P]]:
    """Like `start`, for a list with filters: with a cursor they are the cursor's, and need not be said again.

    Raises `InvalidCursor`, also for other filters than the cursor's.
    """
    positions: Any = tuple[type(filters), position]  # type: ignore[misc]
    here: Cursor[tuple[S, P]] = start(path, cursor, limit, first=(filters, first), position=positions)
    if filters not in (here.position[0], type(filters)()):
        raise InvalidCursor("this cursor belongs to a list with other filters")
    # The parameters of a request refuse it, and a cursor made up by a client passes them by.
    if any(isinstance(given, str) and "\0" in given for given in msgspec.structs.astuple(here.position[0])):
        raise InvalidCursor("no filter has a NUL")
    return here


def filtered_page(
    cursor: Cursor[tuple[S, P]], found: Sequence[F], show: Callable[[F], I], position: P | None
) -> Page[I]:
    """The page of what was `found`, however little; `position` is where the next page begins, None after the last."""
    following = None if position is None else after(cursor, (cursor.position[0], position))
    return Page([show(item) for item in found], following)
