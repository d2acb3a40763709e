"""The rules of transactions: posts, holds and what ends them, reversals, amendments."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET

from ledgerx.commands import Amend, Capture, Direction, Expire, Hold, Line, Post, Release, Reverse
from ledgerx.deciding.ledger import Ledger
from ledgerx.errors import (
    AlreadyReversed,
    AssetMismatch,
    ExceedsTarget,
    HoldAlreadyResolved,
    HoldExpired,
    HoldNotExpired,
    InvalidField,
    NotAHold,
    NotReversible,
    Unbalanced,
)
from ledgerx.journal import Kind, Layer, Posting
from ledgerx.money import from_minor, positive_minor
from ledgerx.outcomes import Recorded
from ledgerx.state import Target

MAX_POSTINGS = 1_000

# Amounts by account and by the sign of the lines they sum up.
Amounts = Counter[tuple[int, int]]


def post(ledger: Ledger, command: Post) -> Recorded:
    """Record a transaction."""
    return ledger.move(command, Kind.POST, _postings(ledger, command.lines))


def hold(ledger: Ledger, command: Hold) -> Recorded:
    """Put what a transaction would move on the pending layers."""
    if command.expires_at is not None and command.expires_at <= ledger.now:
        raise InvalidField("expires_at lies in the past")
    postings = [
        msgspec.structs.replace(line, layer=Layer.PENDING_DEBIT if line.amount > 0 else Layer.PENDING_CREDIT)
        for line in _postings(ledger, command.lines)
    ]
    recorded = ledger.move(command, Kind.HOLD, postings, expires_at=command.expires_at)
    ledger.opened_holds[recorded.entry.seq] = command.expires_at
    return recorded


def capture(ledger: Ledger, command: Capture) -> Recorded:
    """Take a hold off the pending layers and post it, or the part of it that `command` says."""
    target = _open_hold(ledger, command.target)
    held = target.entry.postings
    if target.entry.expires_at is not None and target.entry.expires_at <= ledger.now:
        raise HoldExpired(f"hold {command.target} expired", expires_at=target.entry.expires_at)
    for line in held:
        ledger.usable(line.account)
    posted: Sequence[Posting]
    if command.lines is None:
        posted = [msgspec.structs.replace(line, layer=Layer.POSTED) for line in held]
    else:
        posted = _postings(ledger, command.lines)
        _check_part(posted, _amounts(held))
    return _resolve(ledger, command, Kind.CAPTURE, target, posted)


def release(ledger: Ledger, command: Release) -> Recorded:
    """Take a hold off the pending layers."""
    return _resolve(ledger, command, Kind.RELEASE, _open_hold(ledger, command.target))


def expire(ledger: Ledger, command: Expire) -> Recorded:
    """Take a hold that is past its time off the pending layers."""
    target = _open_hold(ledger, command.target)
    if target.entry.expires_at is None or target.entry.expires_at > ledger.now:
        raise HoldNotExpired(f"hold {command.target} has not expired", expires_at=target.entry.expires_at)
    return _resolve(ledger, command, Kind.EXPIRE, target)


def reverse(ledger: Ledger, command: Reverse) -> Recorded:
    """Take back what is left of a transaction, or the part of it that `command` says."""
    target = ledger.target(command.target)
    if target.entry.kind not in (Kind.POST, Kind.CAPTURE):
        raise NotReversible(f"transaction {command.target} is a {target.entry.kind}", kind=target.entry.kind)
    original = [line for line in target.entry.postings if line.layer is Layer.POSTED]
    left = _amounts(original)
    left.subtract(target.reversed)
    if not any(left.values()):
        raise AlreadyReversed(f"nothing is left of transaction {command.target}")
    if command.lines is None:
        by_key = {_key(line): line for line in original}
        taken = [msgspec.structs.replace(by_key[key], amount=left[key] * key[1]) for key in by_key if left[key]]
        for line in taken:
            ledger.usable(line.account)
    else:
        taken = _postings(ledger, command.lines)
        _check_part(taken, left)
    recorded = ledger.move(command, Kind.REVERSE, _opposite(taken), target=target)
    ledger.targets[command.target] = msgspec.structs.replace(
        target, reversed=Counter(target.reversed) + _amounts(taken)
    )
    return recorded


def amend(ledger: Ledger, command: Amend) -> Recorded:
    """Give a transaction other annotations. The entry carries all of them, as they are from then on."""
    target = ledger.target(command.target)
    if command.category is not UNSET:
        ledger.check_category(command.category)
    annotations = {
        name: getattr(target.entry, name) if given is UNSET else given
        for name in ("category", "description", "metadata")
        for given in [getattr(command, name)]
    }
    entry = ledger.record(command, Kind.AMEND, target_seq=command.target, **annotations)
    ledger.targets[command.target] = msgspec.structs.replace(
        target, entry=msgspec.structs.replace(target.entry, **annotations)
    )
    return Recorded(entry, {})


def _postings(ledger: Ledger, lines: Sequence[Line]) -> list[Posting]:
    if not 2 <= len(lines) <= MAX_POSTINGS:
        raise InvalidField(f"a transaction has 2 to {MAX_POSTINGS} postings, this one has {len(lines)}")
    postings = [_posting(ledger, line) for line in lines]
    _check_balanced(postings)
    return postings


def _posting(ledger: Ledger, line: Line) -> Posting:
    account = ledger.usable(line.account)
    if line.asset is not None and line.asset != account.asset:
        raise AssetMismatch(
            f'account "{account.code}" holds {account.asset}, not {line.asset}',
            account=account.code,
            asset=account.asset,
        )
    minor = positive_minor(line.amount, account.scale)
    signed = minor if line.direction is Direction.DEBIT else -minor
    return Posting(account.code, account.account_id, account.asset, account.scale, signed)


def _open_hold(ledger: Ledger, seq: int) -> Target:
    target = ledger.target(seq)
    if target.entry.kind is not Kind.HOLD:
        raise NotAHold(f"transaction {seq} is a {target.entry.kind}, not a hold", kind=target.entry.kind)
    if target.resolution is not None:
        raise HoldAlreadyResolved(f"hold {seq} was resolved by {target.resolution}", resolution=target.resolution)
    return target


def _resolve(
    ledger: Ledger, command: Capture | Release | Expire, kind: Kind, target: Target, posted: Sequence[Posting] = ()
) -> Recorded:
    recorded = ledger.move(command, kind, [*_opposite(target.entry.postings), *posted], target=target)
    ledger.targets[command.target] = msgspec.structs.replace(target, resolution=recorded.entry.seq)
    ledger.resolved_holds.append(command.target)
    return recorded


def _opposite(lines: Iterable[Posting]) -> list[Posting]:
    return [msgspec.structs.replace(line, amount=-line.amount) for line in lines]


def _key(line: Posting) -> tuple[int, int]:
    return line.account_id, 1 if line.amount > 0 else -1


def _amounts(lines: Iterable[Posting]) -> Amounts:
    amounts: Amounts = Counter()
    for line in lines:
        amounts[_key(line)] += abs(line.amount)
    return amounts


def _check_part(part: Sequence[Posting], whole: Amounts) -> None:
    """Raise `ExceedsTarget` unless `part` takes no more of any account's debits or credits than `whole` has."""
    lines = {_key(line): line for line in part}
    for key, amount in _amounts(part).items():
        if amount > whole[key]:
            line = lines[key]
            raise ExceedsTarget(
                f'"{line.account}" has {from_minor(whole[key], line.scale)} left of it',
                account=line.account,
                left=from_minor(whole[key], line.scale),
            )


def _check_balanced(postings: Sequence[Posting]) -> None:
    sums: dict[str, int] = {}
    for line in postings:
        sums[line.asset] = sums.get(line.asset, 0) + line.amount
    if not any(sums.values()):
        return
    scales = {line.asset: line.scale for line in postings}
    difference = {asset: from_minor(total, scales[asset]) for asset, total in sums.items() if total}
    wording = ", ".join(f"{amount} {asset}" for asset, amount in difference.items())
    raise Unbalanced(f"debits less credits come to {wording} instead of zero", difference=difference)
