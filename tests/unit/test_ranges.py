"""Ranges of bytes (RFC 9110, 14)."""

import pytest

from ledgerx.errors import RangeNotSatisfiable
from ledgerx_api.ranges import wanted_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-", (0, 100)),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("Bytes= 10 - 19 ", (10, 20)),
        ("bytes=99-", (99, 100)),
        ("bytes=10-1000", (10, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        # What cannot be read, or is more than one range, is the whole file.
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=٣-", None),
    ],
)
def test_one_range_is_cut_to_the_file(header: str | None, expected: tuple[int, int] | None) -> None:
    assert wanted_range(header, None, etag='"a"', size_bytes=100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_the_file_is_refused_with_the_size_of_the_file(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        wanted_range(header, None, etag='"a"', size_bytes=100)
    assert refused.value.extra == {"size_bytes": 100}


def test_an_empty_file_has_no_range() -> None:
    with pytest.raises(RangeNotSatisfiable):
        wanted_range("bytes=0-", None, etag='"a"', size_bytes=0)


@pytest.mark.parametrize(
    ("if_range", "expected"), [('"a"', (0, 1)), ('"b"', None), ('W/"a"', None), ("Wed, 21 Oct 2015 07:28:00 GMT", None)]
)
def test_a_range_is_of_the_version_that_it_was_meant_for(if_range: str, expected: tuple[int, int] | None) -> None:
    assert wanted_range("bytes=0-0", if_range, etag='"a"', size_bytes=100) == expected
