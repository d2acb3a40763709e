"""Cursors of lists."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.errors import InvalidCursor
from ledgerx_api import paging
from ledgerx_api.paging import DEFAULT_LIMIT, MAX_LIMIT, Cursor


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@given(st.text(), st.integers(1, MAX_LIMIT), st.text())
def test_a_cursor_carries_list_page_size_and_position(path: str, limit: int, position: str) -> None:
    cursor = paging.after(Cursor(path, limit, ""), position)
    assert paging.start(path, cursor, None, first="", position=str) == Cursor(path, limit, position)


def test_without_a_cursor_a_list_begins_at_its_first() -> None:
    assert paging.start("/list", None, None, first=9, position=int) == Cursor("/list", DEFAULT_LIMIT, 9)
    assert paging.start("/list", None, 3, first=9, position=int) == Cursor("/list", 3, 9)


def test_a_stated_page_size_wins_over_the_cursor() -> None:
    cursor = paging.after(Cursor("/list", 3, 0), 5)
    assert paging.start("/list", cursor, 7, first=0, position=int) == Cursor("/list", 7, 5)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "\u00e9",
        "!!!!",
        _encoded("{}"),
        _encoded("null"),
        _encoded('["/list", 3]'),
        _encoded('["/list", 3, "text"]'),
        _encoded('["/other", 3, 5]'),
        _encoded('["/list", 0, 5]'),
        _encoded(f'["/list", {MAX_LIMIT + 1}, 5]'),
        _encoded('["/list", 3, 5]') + "A",
    ],
)
def test_a_cursor_from_elsewhere_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        paging.start("/list", cursor, None, first=0, position=int)


@pytest.mark.parametrize(("found", "items", "next_position"), [(0, 0, None), (2, 2, None), (3, 3, None), (4, 3, 2)])
def test_one_item_too_many_tells_that_there_is_a_next_page(found: int, items: int, next_position: int | None) -> None:
    here: Cursor[Any] = Cursor("/list", 3, 0)
    page = paging.page(here, range(found), str, lambda item: item)
    assert page.items == [str(item) for item in range(items)]
    expected = None if next_position is None else paging.after(here, next_position)
    assert page.next_cursor == expected
