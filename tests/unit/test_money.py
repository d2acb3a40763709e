"""Amounts between decimal strings and minor units."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.errors import InvalidAmount, TooManyDecimals
from ledgerx.money import MAX_DIGITS, from_minor, positive_minor, to_minor

SCALES = st.integers(0, 18)
MINORS = st.integers(-(10**MAX_DIGITS) + 1, 10**MAX_DIGITS - 1)


@given(MINORS, SCALES)
def test_minor_units_survive_the_way_to_text_and_back(minor: int, scale: int) -> None:
    assert to_minor(from_minor(minor, scale), scale) == minor


@given(MINORS, SCALES)
def test_text_has_the_value_and_the_decimals_of_the_asset(minor: int, scale: int) -> None:
    text = from_minor(minor, scale)
    assert Decimal(text) == Decimal(f"{minor}e-{scale}")
    assert len(text.partition(".")[2]) == scale


@pytest.mark.parametrize(
    ("text", "scale", "minor"),
    [
        ("12.34", 2, 1234),
        ("12.3", 2, 1230),
        ("12", 2, 1200),
        ("0012.30", 2, 1230),
        ("-0.01", 2, -1),
        ("-0", 2, 0),
        ("5", 0, 5),
        ("9" * 30, 0, 10**30 - 1),
    ],
)
def test_decimal_strings_are_read_as_minor_units(text: str, scale: int, minor: int) -> None:
    assert to_minor(text, scale) == minor


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-", ".", "1.", ".5", "-.5", "--1", "+1", " 1", "1 ", "1\n", "1,5", "1_000", "1'000", "1.2.3", "1-"),
        *("1e3", "0x10", "NaN", "Infinity", "inf", "\u0661", "\uff11", "\u00b2", "1\0", "null", "1.-5"),
        *("1" * 31, "0" * 31, "1" * 29 + ".00"),
    ],
)
def test_anything_but_a_plain_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidAmount):
        to_minor(text, 2)


def test_decimals_of_the_asset_count_as_digits() -> None:
    with pytest.raises(InvalidAmount, match="30 digits"):
        to_minor("1" * 29, 2)


@pytest.mark.parametrize(("text", "scale"), [("1.001", 2), ("1.000", 2), ("1.0", 0)])
def test_more_decimals_than_the_asset_has_are_refused(text: str, scale: int) -> None:
    with pytest.raises(TooManyDecimals) as caught:
        to_minor(text, scale)
    assert caught.value.extra == {"scale": scale}


@pytest.mark.parametrize("text", ["0", "0.00", "-0", "-1", "-0.01"])
def test_a_posting_has_an_amount_above_zero(text: str) -> None:
    with pytest.raises(InvalidAmount, match="greater than zero"):
        positive_minor(text, 2)
