"""A ledger in memory around `decide`: it keeps and loads exactly what the tables would."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from ledgerx import rows
from ledgerx.commands import AnyCommand
from ledgerx.decide import Decision, decide
from ledgerx.journal import Entry, genesis
from ledgerx.state import Account, Head, KnownKey, State, Sums

TENANT = UUID("0198c0de-0000-7000-8000-000000000001")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class MemoryLedger:
    def __init__(self, max_accounts: int | None = None) -> None:
        self.max_accounts = max_accounts
        self.head = Head(0, genesis(TENANT), NOON)
        self.entries: list[Entry] = []
        self.accounts: dict[str, Account] = {}
        self.guarded: dict[int, Sums] = {}
        self.keys: dict[str, KnownKey] = {}

    def run(self, commands: Sequence[AnyCommand], now: datetime = NOON) -> Decision:
        """Decide one batch and keep what it decided."""
        decision = decide(self.state(commands), commands, now)
        self.head = decision.head
        self.entries += decision.entries
        self.keys |= {
            entry.idempotency_key: KnownKey(entry.fingerprint or b"", entry)
            for entry in decision.entries
            if entry.idempotency_key is not None
        }
        for account in decision.accounts.values():
            self.accounts[account.code] = account
            if not account.guarded:
                self.guarded.pop(account.account_id, None)
        self.guarded |= {account_id: sums for account_id, (sums, _) in decision.sums.items()}
        return decision

    def state(self, commands: Sequence[AnyCommand]) -> State:
        """What the engine loads for a batch."""
        accounts = {code: self.accounts[code] for code in rows.codes_of(commands) if code in self.accounts}
        weighed = set(rows.weighed_codes_of(commands))
        sums = {one.account_id: self.guarded[one.account_id] for one in accounts.values() if one.guarded}
        for account in accounts.values():
            if account.code in weighed:
                sums.setdefault(account.account_id, self.sums(account.account_id))
        keys = {command.idempotency_key for command in commands}
        return State(
            head=self.head,
            accounts=accounts,
            sums=sums,
            keys={key: known for key, known in self.keys.items() if key in keys},
            accounts_left=None if self.max_accounts is None else self.max_accounts - len(self.accounts),
        )

    def sums(self, account_id: int) -> Sums:
        """An account's sums, added up from the journal."""
        sums = Sums()
        for entry in self.entries:
            for line in entry.postings:
                if line.account_id == account_id:
                    sums = sums.plus(line.layer, line.amount)
        return sums
