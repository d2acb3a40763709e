"""Idempotency keys and fingerprints of requests."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.errors import InvalidIdempotencyKey, Malformed, MissingIdempotencyKey
from ledgerx_api.idempotency import MAX_KEY_CHARACTERS, fingerprint, parse_key

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=60)
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(PRINTABLE)
def test_a_quoted_key_is_read_as_a_structured_field_string(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_key(f'"{escaped}"') == key


@pytest.mark.parametrize(
    ("header", "key"),
    [("abc", "abc"), (" abc ", "abc"), ('"abc"', "abc"), ('"a b"', "a b"), ('"', '"'), ('a"b', 'a"b')],
)
def test_bare_keys_are_taken_as_they_are(header: str, key: str) -> None:
    assert parse_key(header) == key


def test_the_longest_key_is_taken() -> None:
    assert parse_key("k" * MAX_KEY_CHARACTERS) == "k" * MAX_KEY_CHARACTERS


@pytest.mark.parametrize("header", ["", "  ", '""', "k" * (MAX_KEY_CHARACTERS + 1), "\u00e9", "a\tb", "a\0b", '"\x7f"'])
def test_unusable_keys_are_refused(header: str) -> None:
    with pytest.raises(InvalidIdempotencyKey):
        parse_key(header)


def test_a_missing_key_is_told_apart() -> None:
    with pytest.raises(MissingIdempotencyKey):
        parse_key(None)


@given(st.dictionaries(st.text(max_size=3), BODIES, max_size=4))
def test_white_space_and_order_of_members_do_not_count(body: dict[str, Any]) -> None:
    compact = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    spaced = json.dumps(dict(reversed(body.items())), indent=2, ensure_ascii=True).encode()
    assert fingerprint("post", "", "me", compact) == fingerprint("post", "", "me", spaced)


@pytest.mark.parametrize(
    "other",
    [
        ("hold", "", "me", b'{"amount":"1.0"}'),
        ("post", "7", "me", b'{"amount":"1.0"}'),
        ("post", "", "you", b'{"amount":"1.0"}'),
        ("post", "", "me", b'{"amount":"1.00"}'),
        ("post", "", "me", b'{"amount":1.0}'),
        ("post", "", "me", b'{"amount":"1.0","category":null}'),
        ("post", "", "me", b""),
        ("post", "me", "", b'{"amount":"1.0"}'),
    ],
)
def test_operation_target_actor_and_every_value_count(other: tuple[str, str, str, bytes]) -> None:
    assert fingerprint("post", "", "me", b'{"amount":"1.0"}') != fingerprint(*other)


@pytest.mark.parametrize("value", [b"1e999", b"1" * 5_000, b'"\xff"'])
def test_a_body_that_cannot_be_read_back_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed):
        fingerprint("post", "", "me", b'{"metadata":{"a":' + value + b"}}")
