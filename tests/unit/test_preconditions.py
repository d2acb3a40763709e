"""`ETag` and `If-Match`."""

import pytest

from ledgerx_api.preconditions import etag, versions


@pytest.mark.parametrize(
    ("if_match", "expected"),
    [
        (None, None),
        ("*", None),
        (" * ", None),
        ('"3"', frozenset({3})),
        ('"3", "4"', frozenset({3, 4})),
        ('"3",W/"4"', frozenset({3})),
        ("", frozenset()),
        ("3", frozenset()),
        ('"x"', frozenset()),
        ('"-1"', frozenset()),
        (f'"{10**30}"', frozenset()),
        ('"\u0663"', frozenset()),
    ],
)
def test_if_match_names_versions(if_match: str | None, expected: frozenset[int] | None) -> None:
    assert versions(if_match) == expected


def test_a_tag_names_its_version() -> None:
    assert versions(etag(7)["ETag"]) == frozenset({7})
