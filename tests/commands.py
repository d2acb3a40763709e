"""Commands that tests give to the ledger."""

from typing import Any

from ledgerx.commands import Direction, Line, OpenAccount, Post
from ledgerx.journal import AccountType


def envelope(key: str, fingerprint: bytes = b"1") -> dict[str, Any]:
    """What every command carries."""
    return {"idempotency_key": key, "fingerprint": fingerprint, "actor": "test"}


def opening(
    code: str, asset: str = "USD", kind: AccountType = AccountType.LIABILITY, key: str = "", **limits: Any
) -> OpenAccount:
    """Open an account, under a key of its own unless said."""
    return OpenAccount(code=code, asset=asset, type=kind, **limits, **envelope(key or f"open {code}"))


def transfer(key: str, amount: str = "1", *, debit: str = "bank", credit: str = "user", **more: Any) -> Post:
    """Move an amount between two accounts."""
    lines = (Line(debit, Direction.DEBIT, amount), Line(credit, Direction.CREDIT, amount))
    return Post(lines=lines, **envelope(key) | more)
