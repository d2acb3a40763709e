"""What members are shown of transactions: they see the accounts that they own, and nobody else's.

Of a transaction that touches an account of theirs they see the lines of their own accounts. What stands for the lines
of all others is computed from those alone, so that it cannot tell anything else: neither who they are, nor how many,
nor what passes between them.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from ledgerx.journal import Entry, Kind, Layer, Posting

# How the journal names a user, before the id that is the owner of accounts. Others own them by their whole name.
USER = "user:"


def own_key(actor: str, key: str) -> str:
    """The idempotency key that the journal keeps for the `key` of a member.

    It is the member's own: nobody learns by it whether another has used the same, or takes it from them. No actor and
    no key holds a line break, so no two pairs of them make the same.
    """
    return f"{actor}\n{key}"


def redacted(entry: Entry, owner: str) -> Entry:
    """`entry`, read with the postings of the accounts of `owner` only, as that user is shown it.

    Whoever else made it is left out, and so are the idempotency key and the hash, by which a guess at what was left out
    could be checked: they are empty then, as are the accounts of the lines that stand for those of all others.
    """
    by_owner = entry.actor.removeprefix(USER) == owner
    key = entry.idempotency_key
    return msgspec.structs.replace(
        entry,
        postings=(*entry.postings, *counterparts(entry.kind, entry.postings)),
        actor=entry.actor if by_owner else "",
        idempotency_key=key.removeprefix(own_key(entry.actor, "")) if key is not None and by_owner else None,
        fingerprint=None,
        annotations_hash=None,
        hash=b"",
    )


def counterparts(kind: Kind, lines: Iterable[Posting]) -> Iterator[Posting]:
    """The lines that balance `lines` of a transaction of this kind: for each asset one that is posted, one pending.

    A hold has its debits on one pending layer and its credits on the other; what resolves it has them the other way.
    """
    for (asset, scale, is_posted), group in groupby(sorted(lines, key=_balanced_together), _balanced_together):
        amount = -sum(line.amount for line in group)
        if not amount:
            continue
        is_debit = (amount > 0) == (kind is Kind.HOLD)
        pending = Layer.PENDING_DEBIT if is_debit else Layer.PENDING_CREDIT
        yield Posting("", 0, asset, scale, amount, Layer.POSTED if is_posted else pending)


def _balanced_together(line: Posting) -> tuple[str, int, bool]:
    return line.asset, line.scale, line.layer is Layer.POSTED
