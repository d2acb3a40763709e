"""Addresses of people."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.emails import MAX_CHARACTERS, Email, parse_email
from ledgerx.errors import InvalidField


@pytest.mark.parametrize(
    ("text", "shown", "key"),
    [
        ("Ada@Example.COM", "Ada@example.com", "ada@example.com"),
        ("ada+x@localhost", "ada+x@localhost", "ada+x@localhost"),
        ("Jose\u0301@b.c", "Jos\u00e9@b.c", "jos\u00e9@b.c"),
        ("STRASSE@STRA\u1e9eE.de", "STRASSE@strasse.de", "strasse@strasse.de"),
        ("x" * 64 + "@" + "y" * 189, "x" * 64 + "@" + "y" * 189, "x" * 64 + "@" + "y" * 189),
    ],
)
def test_an_address_is_shown_as_given_but_for_its_domain_and_compared_without_case(
    text: str, shown: str, key: str
) -> None:
    assert parse_email(text) == Email(shown, key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a@",
        "@b",
        "ab",
        "a@b@c",
        "a b@c",
        "a@b c",
        " a@b",
        "a@b\n",
        "a\0@b",
        "a\u200b@b",
        "a\u00a0@b",
        "a@.b",
        "a@b.",
        "a@b..c",
        "a\ud800@b",
        "x" * 65 + "@b",
        "x@" + "y" * (MAX_CHARACTERS - 1),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidField):
        parse_email(text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_case_and_composition_make_no_other_address(local: str, domain: str) -> None:
    try:
        email = parse_email(f"{local}@{domain}")
    except InvalidField:
        return
    assert parse_email(email.shown) == email
    assert parse_email(unicodedata.normalize("NFD", email.shown)) == email
    assert parse_email(email.key).key == email.key
