"""A ledger in memory around `decide`: it keeps and loads exactly what the tables would."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.commands import AnyCommand
from ledgerx.decide import Decision, decide
from ledgerx.journal import Entry, Kind, genesis
from ledgerx.state import Account, Asset, Category, Head, KnownKey, Registry, State, Sums, Target

TENANT = UUID("0198c0de-0000-7000-8000-000000000001")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
R = TypeVar("R")


class MemoryLedger:
    def __init__(self, max_accounts: int | None = None, *, members_may_post: bool = False) -> None:
        self.max_accounts = max_accounts
        self.members_may_post = members_may_post
        self.head = Head(0, genesis(TENANT), NOON)
        self.entries: list[Entry] = []
        self.accounts: dict[str, Account] = {}
        self.guarded: dict[int, Sums] = {}
        self.keys: dict[str, KnownKey] = {}
        self.open_holds: dict[int, datetime | None] = {}
        self.registry = Registry()
        self.assets: dict[str, Asset] = {}
        self.categories: dict[str, Category] = {}

    def run(self, commands: Sequence[AnyCommand], now: datetime = NOON, *, atomic: bool = False) -> Decision:
        """Decide one batch and keep what it decided."""
        decision = decide(self.state(commands), commands, now, atomic=atomic)
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
        self.open_holds |= decision.opened_holds
        for seq in decision.resolved_holds:
            del self.open_holds[seq]
        self.guarded |= {account_id: sums for account_id, (sums, _) in decision.sums.items()}
        self.registry = decision.registry
        _keep(self.assets, decision.assets)
        _keep(self.categories, decision.categories)
        return decision

    def state(self, commands: Sequence[AnyCommand]) -> State:
        """What the engine loads for a batch."""
        accounts = {code: self.accounts[code] for code in rows.codes_of(commands) if code in self.accounts}
        weighed = set(rows.weighed_codes_of(commands))
        sums = {one.account_id: self.guarded[one.account_id] for one in accounts.values() if one.guarded}
        for account in accounts.values():
            if account.code in weighed:
                sums.setdefault(account.account_id, self.sums(account.account_id))
        versions = {}
        for code in rows.versioned_codes_of(commands):
            if code in accounts:
                account_id = accounts[code].account_id
                touching = [e.seq for e in self.entries if any(line.account_id == account_id for line in e.postings)]
                versions[account_id] = touching[-1] if touching else 0
        targets = {seq: target for seq in rows.targets_of(commands) if (target := self.target(seq)) is not None}
        for target in targets.values():
            for line in target.entry.postings:
                account = self.accounts[line.account]
                accounts[account.code] = account
                if account.guarded:
                    sums[account.account_id] = self.guarded[account.account_id]
        asset_codes = rows.asset_codes_of(commands)
        category_codes = rows.category_codes_of(commands, strict=self.registry.strict_categories)
        keys = {command.idempotency_key for command in commands}
        return State(
            head=self.head,
            accounts=accounts,
            sums=sums,
            keys={key: known for key, known in self.keys.items() if key in keys},
            targets=targets,
            versions=versions,
            accounts_left=None if self.max_accounts is None else self.max_accounts - len(self.accounts),
            registry=self.registry,
            assets={code: self.assets[code] for code in asset_codes if code in self.assets},
            scales={one.asset: one.scale for one in self.accounts.values() if one.asset in asset_codes},
            categories={code: self.categories[code] for code in category_codes if code in self.categories},
            members_may_post=self.members_may_post,
        )

    def target(self, seq: int) -> Target | None:
        """A transaction and what became of it, found in the journal."""
        if not 1 <= seq <= len(self.entries) or not self.entries[seq - 1].postings:
            return None
        entry = self.entries[seq - 1]
        resolution = None
        reversed_: Counter[tuple[int, int]] = Counter()
        for link in self.entries:
            if link.target_seq != seq:
                continue
            if link.kind is Kind.AMEND:
                entry = msgspec.structs.replace(
                    entry, category=link.category, description=link.description, metadata=link.metadata
                )
            elif link.kind is Kind.REVERSE:
                for line in link.postings:
                    reversed_[line.account_id, -1 if line.amount > 0 else 1] += abs(line.amount)
            else:
                resolution = link.seq
        return Target(entry, resolution, reversed_)

    def sums(self, account_id: int) -> Sums:
        """An account's sums, added up from the journal."""
        sums = Sums()
        for entry in self.entries:
            for line in entry.postings:
                if line.account_id == account_id:
                    sums = sums.plus(line.layer, line.amount)
        return sums


def _keep(kept: dict[str, R], changed: Mapping[str, R | None]) -> None:
    for code, one in changed.items():
        kept.pop(code, None)
        if one is not None:
            kept[code] = one
