"""What goes over the wire of snapshots."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from ledgerx import snapshots
from ledgerx_api.schemas import Balance, shown_balance


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """An account's balance in a snapshot: of what was recorded before `taken_at`, up to the entry `sequence`."""

    taken_at: Annotated[datetime, Meta(description="The moment of the tenant's schedule.")]
    sequence: int
    balance: Balance


def snapshot(found: snapshots.AccountSnapshot, scale: int) -> Snapshot:
    """A snapshot as the API shows it."""
    return Snapshot(taken_at=found.taken_at, sequence=found.seq, balance=shown_balance(found.balance, scale))
