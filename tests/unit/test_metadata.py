"""Metadata in its canonical form."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.errors import InvalidField
from ledgerx.metadata import (
    MAX_BYTES,
    MAX_LEVELS,
    MAX_SEARCHABLE_MEMBERS,
    canonical_metadata,
    searchable,
    wanted_members,
)

TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans())
def test_the_text_is_that_of_rfc_8785_however_it_was_written(value: dict[str, Any], ascii_only: bool) -> None:
    raw = json.dumps(value, indent=1, ensure_ascii=ascii_only).encode()
    assert canonical_metadata(raw) == rfc8785.dumps(value).decode()


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_canonical_text_is_canonical_already(value: dict[str, Any]) -> None:
    text = canonical_metadata(json.dumps(value).encode())
    assert canonical_metadata(text.encode()) == text


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'"text"',
        b"1",
        b"",
        b"{",
        b'{"a": 1.5}',
        b'{"a": 1.0}',
        b'{"a": 1e3}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 9007199254740993}',
        b'{"a": ' + b"1" * 5_000 + b"}",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": "\\u0000"}',
        b'{"a\\u0000": 1}',
        b'{"a": ["\\u0000"]}',
        b'{"a": [{"b": [["\\u0000"]]}]}',
        b'{"a": "\\ud800"}',
        b'{"\\udc00": 1}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 8_000 + b"]" * 8_000 + b"}",
        b'{"a": "' + b"x" * MAX_BYTES + b'"}',
    ],
)
def test_what_would_read_back_differently_somewhere_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidField):
        canonical_metadata(raw)


def test_the_limit_counts_levels() -> None:
    deepest = b'{"a":' + b"[" * (MAX_LEVELS - 1) + b"]" * (MAX_LEVELS - 1) + b"}"
    assert canonical_metadata(deepest) == deepest.decode()
    with pytest.raises(InvalidField):
        canonical_metadata(deepest.replace(b"[]", b"[[]]"))


def test_an_escaped_backslash_is_no_nul() -> None:
    assert canonical_metadata(b'{"a": "\\\\u0000"}') == '{"a":"\\\\u0000"}'


def test_the_limit_counts_bytes() -> None:
    raw = b'{"a":"' + b"x" * (MAX_BYTES - 8) + b'"}'
    assert len(canonical_metadata(raw)) == MAX_BYTES


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_can_be_searched_for_is_found_by_asking_for_it(value: dict[str, Any]) -> None:
    members = searchable(canonical_metadata(json.dumps(value).encode()))
    assert [name for name, _ in members] == [
        name for name in json.loads(rfc8785.dumps(value)) if isinstance(value[name], str | int)
    ]
    for name, text in members:
        assert wanted_members(json.dumps({name: value[name]})) == [(name, text)]


def test_a_string_an_integer_and_a_boolean_are_different_members() -> None:
    assert searchable('{"a":"1","b":1,"c":true,"d":null,"e":[1],"f":{"g":1}}') == [
        ("a", '"1"'),
        ("b", "1"),
        ("c", "true"),
    ]
    assert searchable(None) == []


def test_what_is_too_long_or_too_much_is_left_out() -> None:
    assert searchable(json.dumps({"a": "x" * 253, "b": "x" * 254, "c" * 256: 1})) == [("a", f'"{"x" * 253}"')]
    assert len(searchable(json.dumps({f"{n:03}": n for n in range(200)}))) == MAX_SEARCHABLE_MEMBERS


@pytest.mark.parametrize(
    "raw", ["", "{}", "[]", '{"a":null}', '{"a":[1]}', '{"a":1,"b":{}}', '{"a":"' + "x" * 254 + '"}']
)
def test_what_cannot_be_searched_for_is_refused(raw: str) -> None:
    with pytest.raises(InvalidField):
        wanted_members(raw)
