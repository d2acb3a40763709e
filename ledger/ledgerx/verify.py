"""Verification: reads a tenant's whole journal and recomputes everything that can be recomputed from it.

The chain, the numbering, the zero sums, the guarded sums, the registries, the search terms, the Merkle tree with its
checkpoints, the snapshots, and the streams' projections at the entry that each has reached. Nothing is trusted but the
entries and postings themselves, and those only as far as their chain holds.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.comparisons import SearchTerms, compare_blocks, compare_volumes
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.errors import NotFound
from ledgerx.findings import Finding
from ledgerx.journal import (
    RESOLUTIONS,
    AccountState,
    Entry,
    Kind,
    Layer,
    Posting,
    annotations_hash,
    chain,
    genesis,
)
from ledgerx.registry_audit import RegistryAudit
from ledgerx.snapshot_comparison import SnapshotComparison, open_snapshots
from ledgerx.state import POSTINGS_PER_MARK, Sums
from ledgerx.tree_comparison import TreeComparison, open_tree

PAGE = 1_000
_MAX_FINDINGS = 100
_queries = Queries("ledgerx", "sql/verify.sql")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was read, and what was found wrong, at most 100 findings, those of the journal in its order."""

    tenant_id: UUID
    entries: int
    transactions: int
    postings: int
    accounts: int
    head: int
    hash: bytes
    projections: dict[str, int]
    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def wrong_with(previous_hash: bytes | None, entry: Entry) -> Iterator[str]:
    """What an entry alone says to be wrong with it; without the hash before it, all but the chain."""
    if previous_hash is not None and chain(previous_hash, entry) != entry.hash:
        yield "the hash does not match the entry and the hash before it"
    if annotations_hash(entry.category, entry.description, entry.metadata) != entry.annotations_hash:
        yield "category, description or metadata do not match their hash"
    totals: dict[tuple[str, bool], int] = {}
    for line in entry.postings:
        side = line.asset, line.layer is Layer.POSTED
        totals[side] = totals.get(side, 0) + line.amount
    if any(totals.values()):
        yield "debits and credits differ"


class Audit:
    """The running state of a verification: feed it entries in order, then compare what was kept beside them."""

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self.findings: list[Finding] = []
        self.entries = 0
        self.transactions = 0
        self.postings = 0
        self.opened = 0
        self.sums: dict[int, Sums] = {}
        self.counts: dict[int, int] = {}
        self.marks: dict[tuple[int, int, int], tuple[int, Sums]] = {}
        self.dated_counts: dict[int, int] = {}
        self.dated_marks: dict[tuple[int, int, int], int] = {}
        self.open_holds: set[int] = set()
        self.hash = genesis(tenant_id)
        self.registries = RegistryAudit(self.find)
        # By code, what an account keeps for ever: its id, asset and scale.
        self._accounts: dict[str, tuple[int, str, int]] = {}
        self._next = 1

    def find(self, seq: int | None, what: str) -> None:
        """Note a finding, unless there are too many already."""
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(Finding(seq, what))

    def feed(self, entry: Entry) -> None:
        """Check the next entry."""
        if entry.seq > self._next:
            self.find(self._next, f"entry {self._next} is missing")
        for what in wrong_with(self.hash, entry):
            self.find(entry.seq, what)
        if isinstance(entry.change, AccountState):
            self._know(entry.seq, entry.change)
        self.registries.feed(entry)
        for number, line in enumerate(entry.postings):
            self._add(entry, number, line)
        self._follow_hold(entry)
        self.entries += 1
        self.transactions += bool(entry.postings)
        self.postings += len(entry.postings)
        self.opened += entry.kind is Kind.OPEN_ACCOUNT
        self.hash = entry.hash
        self._next = entry.seq + 1

    def _know(self, seq: int, change: AccountState) -> None:
        fixed = (change.account_id, change.asset, change.scale)
        if self._accounts.setdefault(change.account, fixed) != fixed:
            self.find(seq, f'the account "{change.account}" was opened with another id, asset or scale')

    def _add(self, entry: Entry, number: int, line: Posting) -> None:
        seq, account_id = entry.seq, line.account_id
        # The chain covers the code only: the rest of a posting is as good as the entry that opened the account.
        if self._accounts.get(line.account) != (account_id, line.asset, line.scale):
            self.find(seq, f'line {number} is not of the account "{line.account}" as it was opened')
        self.sums[account_id] = sums = self.sums.get(account_id, Sums()).plus(line.layer, line.amount)
        self.counts[account_id] = count = self.counts.get(account_id, 0) + 1
        if count % POSTINGS_PER_MARK == 0:
            self.marks[account_id, seq, number] = (count, sums)
        if entry.effective_at is not None:
            self.dated_counts[account_id] = count = self.dated_counts.get(account_id, 0) + 1
            if count % POSTINGS_PER_MARK == 0:
                self.dated_marks[account_id, seq, number] = count

    def finish(self, head_seq: int, head_hash: bytes) -> None:
        """Compare the journal's head with the last entry fed."""
        if self._next <= head_seq:
            self.find(self._next, f"entry {self._next} is missing")
        self.compare_hash("the journal's head", head_hash)

    def _follow_hold(self, entry: Entry) -> None:
        if entry.kind is Kind.HOLD:
            self.open_holds.add(entry.seq)
        elif entry.kind in RESOLUTIONS and entry.target_seq is not None:
            if entry.target_seq not in self.open_holds:
                self.find(entry.seq, f"{entry.target_seq} is no open hold")
            self.open_holds.discard(entry.target_seq)

    def compare_holds(self, kept: Collection[int]) -> None:
        """Compare the holds kept as open with those of the entries fed so far."""
        for seq in sorted(self.open_holds.symmetric_difference(kept)):
            self.find(seq, "the hold is open in the journal or in the table of open holds, but not in both")

    def report(self, head_seq: int, projections: dict[str, int] | None = None) -> Report:
        """What was read and found."""
        return Report(
            tenant_id=self.tenant_id,
            entries=self.entries,
            transactions=self.transactions,
            postings=self.postings,
            accounts=len(self.sums),
            head=head_seq,
            hash=self.hash,
            projections=projections or {},
            findings=self.findings,
        )

    def compare_sums(self, name: str, kept: Mapping[int, Sums]) -> None:
        """Compare sums kept elsewhere, of all accounts, with those of the entries fed so far."""
        for account_id in sorted(kept.keys() | self.sums.keys()):
            if kept.get(account_id, Sums()) != self.sums.get(account_id, Sums()):
                self.find(None, f"{name} of account {account_id} differ from the sum of its postings")

    def compare_some_sums(self, name: str, kept: Mapping[int, Sums]) -> None:
        """Like `compare_sums`, for accounts that are kept only."""
        for account_id, sums in sorted(kept.items()):
            if sums != self.sums.get(account_id, Sums()):
                self.find(None, f"{name} of account {account_id} differ from the sum of its postings")

    def compare_counts(self, kept: Mapping[int, int]) -> None:
        """Compare the numbers of postings kept, of all accounts, with those of the entries fed so far."""
        for account_id in sorted(kept.keys() | self.counts.keys()):
            if kept.get(account_id) != self.counts.get(account_id):
                self.find(None, f"the count of account {account_id} differs from the number of its postings")

    def compare_marks(self, kept: Mapping[tuple[int, int, int], tuple[int, Sums]]) -> None:
        """Compare the marks kept with those of the entries fed so far."""
        for account_id, seq, line in sorted(kept.keys() | self.marks.keys()):
            if kept.get((account_id, seq, line)) != self.marks.get((account_id, seq, line)):
                self.find(seq, f"the mark of account {account_id} differs from the sum of its postings")

    def compare_dated(self, name: str, kept: Mapping[int, int]) -> None:
        """Compare numbers of dated postings kept elsewhere, of all accounts, with those of the entries fed so far."""
        for account_id in sorted(kept.keys() | self.dated_counts.keys()):
            if kept.get(account_id) != self.dated_counts.get(account_id):
                self.find(None, f"{name} of account {account_id} differs from the number of its dated postings")

    def compare_dated_marks(self, kept: Mapping[tuple[int, int, int], int]) -> None:
        """Compare the marks of dated postings kept with those of the entries fed so far."""
        for account_id, seq, line in sorted(kept.keys() | self.dated_marks.keys()):
            if kept.get((account_id, seq, line)) != self.dated_marks.get((account_id, seq, line)):
                self.find(seq, f"the mark of account {account_id} is not at every 1,000th of its dated postings")

    def compare_hash(self, name: str, kept: bytes) -> None:
        """Compare a head's hash with that of the last entry fed."""
        if kept != self.hash:
            self.find(None, f"{name} has a hash that is not that of its entry")


async def verify(
    connection: Connection, tenant_id: UUID, *, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Report:
    """Verify a tenant's journal up to its present head, in short pages, while the ledger goes on working.

    `progress` is told the entries done and their total. Raises `NotFound` for an unknown tenant.
    """
    projected = await _fetch(connection, tenant_id, _queries.projected)
    dated = await _fetch(connection, tenant_id, _queries.projected_dated)
    holds = await _fetch(connection, tenant_id, _queries.open_holds)
    registries = await _fetch(connection, tenant_id, _queries.registries)
    audit = Audit(tenant_id)
    snapshots = await open_snapshots(connection, tenant_id, audit.find)
    head = await _fetch(connection, tenant_id, _queries.head_and_guarded)
    if not head or not registries:
        raise NotFound("there is no such tenant")
    head_seq, head_hash = head[0][:2]
    # What each kept thing is compared at, in the order of the entries at which it stands.
    checks: list[tuple[int, Callable[[], None]]] = []
    if projected:
        checks.append((projected[0][0], lambda: _check_projected(audit, projected)))
    if dated:
        checks.append((dated[0][0], lambda: _check_dated(audit, dated)))
    if holds:
        checks.append((holds[0][0], lambda: audit.compare_holds({row[1] for row in holds if row[1]})))
    checks.append((registries[0][0], lambda: audit.registries.compare(registries)))
    checks.append((head_seq, lambda: audit.compare_some_sums("guarded sums", _sums(head))))
    checks.sort(key=lambda check: check[0])
    terms = SearchTerms(connection, tenant_id, audit.find)
    tree = await open_tree(connection, tenant_id, audit.find)
    await _feed(connection, audit, (terms, tree), snapshots, checks, head_seq, progress)
    audit.finish(head_seq, head_hash)
    if audit.opened != head[0][6]:
        audit.find(None, f"the journal opens {audit.opened} accounts, its head counts {head[0][6]}")
    for _, check in checks:
        check()
    await terms.compare(head_seq)
    await tree.compare()
    snapshots.compare(head_seq)
    if dated:
        await compare_volumes(connection, tenant_id, audit.find)
        await compare_blocks(connection, tenant_id, audit.find)
    heads = {"balances": projected, "volumes": dated}
    reached = {name: found[0][0] for name, found in heads.items() if found}
    reached |= {name: seq for name, seq in (("checkpoints", tree.size), ("snapshots", snapshots.last)) if seq}
    return audit.report(head_seq, reached)


async def _feed(
    connection: Connection,
    audit: Audit,
    followers: tuple[SearchTerms, TreeComparison],
    snapshots: SnapshotComparison,
    checks: list[tuple[int, Callable[[], None]]],
    head_seq: int,
    progress: Callable[[int, int], None],
) -> None:
    """Feed all entries, and take from `checks` and run what is to be compared before the last of them."""
    for first in range(1, head_seq + 1, PAGE):
        seqs = range(first, min(first + PAGE, head_seq + 1))
        async with tenant_scope(connection, audit.tenant_id, read_only=True):
            entries = await rows.read_entries(connection, audit.tenant_id, seqs)
        for follower in followers:
            await follower.feed(entries)
        for entry in entries:
            while checks and checks[0][0] < entry.seq:
                checks.pop(0)[1]()
            audit.feed(entry)
            await snapshots.feed(entry, audit.sums)
        progress(seqs[-1], head_seq)


def _check_projected(audit: Audit, found: Sequence[rows.Row]) -> None:
    audit.compare_hash("the balances projection", found[0][1])
    balances = [row for row in found if row[2] is not None and row[3] is None]
    audit.compare_sums("projected balances", {row[2]: rows.sums(*row[6:]) for row in balances})
    audit.compare_counts({row[2]: row[5] for row in balances})
    audit.compare_marks(
        {(row[2], row[3], row[4]): (row[5], rows.sums(*row[6:])) for row in found if row[3] is not None}
    )


def _check_dated(audit: Audit, found: Sequence[rows.Row]) -> None:
    audit.compare_hash("the volumes projection", found[0][1])
    marks = [row for row in found if row[3] is not None]
    tails = [row for row in found if row[2] is not None and row[3] is None]
    audit.compare_dated("the count", {row[2]: row[5] for row in tails if row[5] is not None})
    audit.compare_dated("the size of all blocks", {row[2]: int(row[6]) for row in tails if row[6] is not None})
    audit.compare_dated_marks({(row[2], row[3], row[4]): row[5] for row in marks})


def _sums(found: Iterable[rows.Row]) -> dict[int, Sums]:
    return {row[2]: rows.sums(*row[3:6]) for row in found if row[2] is not None}


async def _fetch(connection: Connection, tenant_id: UUID, query: Any) -> Sequence[rows.Row]:
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(query, {"tenant_id": tenant_id}, binary=True)
    return await cursor.fetchall()
