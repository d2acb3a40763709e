"""What goes over the wire of checkpoints."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from ledgerx import checkpoints
from ledgerx.checkpoints import BalanceStatement

Size = Annotated[int, Meta(description="How many entries of the journal it covers, from the first on.")]


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A signed statement of what the journal is up to an entry.

    `note` is what is signed, with its signatures (C2SP tlog-checkpoint). Amounts of the trial balance are in minor
    units, debits positive; the note has the SHA-256 of its canonical JSON (RFC 8785).
    """

    size: Size
    root: Annotated[bytes, Meta(description="The hash of the Merkle tree over these entries (RFC 6962), base64.")]
    signed_at: datetime
    note: str
    trial_balance: BalanceStatement
    verifier_keys: Annotated[
        list[str],
        Meta(description="Keys of its signatures. Keep one from a source that you trust: an answer proves nothing."),
    ]


def checkpoint(found: checkpoints.Checkpoint) -> Checkpoint:
    """A checkpoint as the API shows it."""
    return msgspec.convert(found, Checkpoint, from_attributes=True)
