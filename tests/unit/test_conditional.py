"""Entity tags."""

import pytest

from ledgerx_api.conditional import _names


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        (None, False),
        ("", False),
        ("a", False),
        ('"b"', False),
        ('"b", *', False),
        ('"aa"', False),
    ],
)
def test_a_tag_is_named_in_the_weak_comparison(header: str | None, named: bool) -> None:
    assert _names(header, '"a"') is named
