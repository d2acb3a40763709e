"""The assets that need no registration, and which scale wins."""

import pytest

from ledgerx.assets import CURRENCIES, MAX_SCALE, currencies_after, known_scale
from ledgerx.errors import UnknownAsset


@pytest.mark.parametrize(("asset", "scale"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("BHD", 3), ("CLF", 4)])
def test_currencies_have_the_minor_units_of_iso_4217(asset: str, scale: int) -> None:
    assert known_scale(asset, None, None) == scale


@pytest.mark.parametrize("asset", ["XAU", "XXX", "usd", "BTC", ""])
def test_what_is_not_money_to_count_in_is_unknown(asset: str) -> None:
    with pytest.raises(UnknownAsset):
        known_scale(asset, None, None)


def test_an_error_does_not_repeat_endless_input() -> None:
    with pytest.raises(UnknownAsset) as caught:
        known_scale("A" * 1_000, None, None)
    assert len(str(caught.value)) < 100


def test_the_scale_of_accounts_comes_before_the_registered_one_and_that_before_the_standard() -> None:
    assert known_scale("USD", 3, 4) == 3
    assert known_scale("USD", None, 4) == 4
    assert known_scale("BTC", 0, None) == 0
    assert known_scale("BTC", None, MAX_SCALE) == MAX_SCALE


def test_currencies_come_in_order() -> None:
    assert list(currencies_after("")) == sorted(CURRENCIES)
    assert next(iter(currencies_after("USD"))) > "USD"
    assert list(currencies_after("ZZZ")) == []
