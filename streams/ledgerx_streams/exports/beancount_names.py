"""Names that Beancount takes, from ours and back.

An account `users:42:wallet` of the type liability is `Liabilities:Users:42:Wallet`. A component begins with a capital
or a digit there and has letters, digits and dashes:

- a small first letter becomes a capital;
- a component that begins with neither a small letter nor a digit, or is empty, comes after `0-X`;
- `-` becomes `--`, `.` becomes `-0` and `_` becomes `-1`.

An asset that is a commodity in Beancount's grammar keeps its code; of any other, the bytes of its code in UTF-8 follow
`X'` in hexadecimal digits: `points` is `X'706F696E7473`.
"""

import re

from ledgerx.journal import AccountType, Layer

ROOTS = {
    AccountType.ASSET: "Assets",
    AccountType.LIABILITY: "Liabilities",
    AccountType.EQUITY: "Equity",
    AccountType.REVENUE: "Income",
    AccountType.EXPENSE: "Expenses",
}
# What holds have reserved, below accounts of their own that together come to nothing. No code of ours is named so: a
# dash is never followed by a letter there.
PENDING = {Layer.PENDING_DEBIT: "Equity:Pending-Debits", Layer.PENDING_CREDIT: "Equity:Pending-Credits"}
_VERBATIM = "0-X"
_ESCAPES = {"-": "--", ".": "-0", "_": "-1"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_ESCAPED = re.compile(r"-[-01]")
_COMMODITY = re.compile(r"[A-Z][A-Z0-9'._-]*[A-Z0-9]", re.ASCII)
_RESERVED = ("TRUE", "FALSE", "NULL")
_ENCODED = "X'"


def account_name(code: str, account_type: AccountType, layer: Layer = Layer.POSTED) -> str:
    """The account that holds a layer of an account of ours."""
    name = f"{ROOTS[account_type]}:{':'.join(map(_component, code.split(':')))}"
    return name if layer is Layer.POSTED else f"{PENDING[layer]}:{name}"


def account_code(name: str) -> str:
    """The code of the account of ours behind a name."""
    for pending in PENDING.values():
        name = name.removeprefix(f"{pending}:")
    return ":".join(map(_plain, name.split(":")[1:]))


def commodity(asset: str) -> str:
    """The commodity of an asset."""
    if _COMMODITY.fullmatch(asset) and asset not in _RESERVED and not asset.startswith(_ENCODED):
        return asset
    return _ENCODED + asset.encode().hex().upper()


def asset_code(name: str) -> str:
    """The asset behind a commodity."""
    return bytes.fromhex(name.removeprefix(_ENCODED)).decode() if name.startswith(_ENCODED) else name


def _component(text: str) -> str:
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    if text[:1].islower():
        return escaped[0].upper() + escaped[1:]
    return escaped if text[:1].isdigit() else _VERBATIM + escaped


def _plain(component: str) -> str:
    verbatim = component.startswith(_VERBATIM)
    plain = _ESCAPED.sub(
        lambda found: _UNESCAPES[found[0]], component.removeprefix(_VERBATIM) if verbatim else component
    )
    return plain if verbatim else plain[0].lower() + plain[1:]
