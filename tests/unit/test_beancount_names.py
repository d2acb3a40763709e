"""Names in Beancount's grammar, and back."""

import re

import pytest
from beancount.core.account import is_valid
from beancount.core.amount import CURRENCY_RE
from hypothesis import example, given
from hypothesis import strategies as st

from ledgerx.journal import AccountType, Layer
from ledgerx_streams.exports.beancount_names import account_code, account_name, asset_code, commodity

CODES = st.from_regex(r"[A-Za-z0-9._:\-]{1,40}", fullmatch=True)


@pytest.mark.parametrize(
    ("code", "account_type", "name"),
    [
        ("bank", AccountType.ASSET, "Assets:Bank"),
        ("users:42:wallet", AccountType.LIABILITY, "Liabilities:Users:42:Wallet"),
        ("Bank", AccountType.ASSET, "Assets:0-XBank"),
        ("a-b.c_d", AccountType.EXPENSE, "Expenses:A--b-0c-1d"),
        (":.a:", AccountType.EQUITY, "Equity:0-X:0-X-0a:0-X"),
        ("0-Xa", AccountType.REVENUE, "Income:0--Xa"),
    ],
)
def test_a_name_is_readable(code: str, account_type: AccountType, name: str) -> None:
    assert account_name(code, account_type) == name


@given(CODES, st.sampled_from(AccountType), st.sampled_from(Layer))
@example("pending-debits:assets:bank", AccountType.EQUITY, Layer.POSTED)
@example("Pending-Debits:Assets:Bank", AccountType.EQUITY, Layer.POSTED)
def test_a_name_leads_back_to_its_account(code: str, account_type: AccountType, layer: Layer) -> None:
    name = account_name(code, account_type, layer)
    assert is_valid(name)
    assert account_code(name) == code
    assert name.startswith(("Equity:Pending-Debits:", "Equity:Pending-Credits:")) == (layer is not Layer.POSTED)


@given(CODES, CODES, st.sampled_from(AccountType), st.sampled_from(Layer))
def test_two_accounts_never_share_a_name(first: str, second: str, account_type: AccountType, layer: Layer) -> None:
    shared = account_name(first, account_type, layer) == account_name(second, account_type, layer)
    assert shared == (first == second)


@given(st.text(min_size=1, max_size=32).filter(lambda text: text.isprintable()))
@example("USD")
@example("points")
@example("NULL")
@example("V")
@example("X'41")
@example("X'")
@example("€")
def test_a_commodity_leads_back_to_its_asset(asset: str) -> None:
    name = commodity(asset)
    assert re.fullmatch(CURRENCY_RE, name)
    assert name not in ("TRUE", "FALSE", "NULL")
    assert asset_code(name) == asset


def test_an_asset_of_iso_4217_keeps_its_code() -> None:
    assert commodity("USD") == "USD"
