"""The pure heart: what commands do to a ledger. No I/O, no clock, no randomness.

`decide` takes the commands of one batch in order, each seeing what those before it did. A refused command changes
nothing. The caller writes down the decision whole, or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ledgerx import commands as asked
from ledgerx.commands import AnyCommand
from ledgerx.deciding import accounts, assets, categories, members, transactions
from ledgerx.deciding.ledger import Ledger
from ledgerx.errors import BatchRefused, IdempotencyKeyReused, LedgerError
from ledgerx.journal import Entry
from ledgerx.outcomes import Outcome, Recorded, Refused, Replayed
from ledgerx.state import Account, Asset, Category, Head, KnownKey, Registry, State, Sums


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch comes to: an outcome for each command in order, and all that is to be written.

    `accounts` are those opened or changed; `sums` are the guarded sums to keep, each with the seq of its last change;
    `opened_holds` are new holds with their expiry, `resolved_holds` those that are over. `assets` and `categories` are
    those registered or changed, None where they were taken away; `registry` is as they leave it.
    """

    outcomes: Sequence[Outcome]
    head: Head
    registry: Registry
    entries: Sequence[Entry] = ()
    accounts: Mapping[int, Account] = {}
    sums: Mapping[int, tuple[Sums, int]] = {}
    opened_holds: Mapping[int, datetime | None] = {}
    resolved_holds: Sequence[int] = ()
    assets: Mapping[str, Asset | None] = {}
    categories: Mapping[str, Category | None] = {}


def decide(state: State, commands: Sequence[AnyCommand], now: datetime, *, atomic: bool = False) -> Decision:
    """Decide `commands` in order against `state`.

    `now` is the time of recording, in UTC; it is raised to the head's where the clock ran backwards. Of an `atomic`
    batch all are recorded or none: the first refusal becomes that of every command.
    """
    ledger = Ledger(state, max(now, state.head.recorded_at))
    keys = dict(state.keys)
    outcomes: list[Outcome] = []
    for number, command in enumerate(commands):
        outcome = _run(ledger, keys, command)
        if atomic and isinstance(outcome, Refused):
            refused = Refused(BatchRefused.of(number, outcome.error))
            return Decision(outcomes=[refused] * len(commands), head=state.head, registry=state.registry)
        outcomes.append(outcome)
    return Decision(
        outcomes=outcomes,
        head=ledger.head,
        registry=ledger.registry,
        entries=ledger.entries,
        accounts=ledger.changed_accounts,
        sums=ledger.changed_guarded_sums,
        opened_holds=ledger.opened_holds,
        resolved_holds=ledger.resolved_holds,
        assets={code: ledger.assets.get(code) for code in ledger.changed_assets},
        categories={code: ledger.categories.get(code) for code in ledger.changed_categories},
    )


def _run(ledger: Ledger, keys: dict[str, KnownKey], command: AnyCommand) -> Outcome:
    outcome = _outcome(ledger, keys, command)
    return outcome if command.confined_to is None else members.shown(ledger, command.confined_to, outcome)


def _outcome(ledger: Ledger, keys: dict[str, KnownKey], command: AnyCommand) -> Outcome:
    known = keys.get(command.idempotency_key)
    if known is not None:
        if known.fingerprint == command.fingerprint:
            return Replayed(known.entry)
        return Refused(IdempotencyKeyReused("this idempotency key was used for a different request"))
    handler = _HANDLERS[type(command)]
    try:
        if command.confined_to is None:
            outcome = handler(ledger, command)
        else:
            outcome = members.run(ledger, command, command.confined_to, handler)
    except LedgerError as error:
        return Refused(error)
    keys[command.idempotency_key] = KnownKey(command.fingerprint, outcome.entry)
    return outcome


# One handler a command; the type of the command is the key, so mypy cannot see that they fit each other.
_HANDLERS: dict[type, Callable[[Ledger, Any], Recorded]] = {
    asked.Post: transactions.post,
    asked.Hold: transactions.hold,
    asked.Capture: transactions.capture,
    asked.Release: transactions.release,
    asked.Expire: transactions.expire,
    asked.Reverse: transactions.reverse,
    asked.Amend: transactions.amend,
    asked.OpenAccount: accounts.open_account,
    asked.UpdateAccount: accounts.update_account,
    asked.CloseAccount: accounts.close_account,
    asked.CreateAsset: assets.create_asset,
    asked.UpdateAsset: assets.update_asset,
    asked.DeleteAsset: assets.delete_asset,
    asked.CreateCategory: categories.create_category,
    asked.UpdateCategory: categories.update_category,
    asked.DeleteCategory: categories.delete_category,
    asked.ChangeSettings: categories.change_settings,
}
