"""The audit follows every journal with a state of its own: the chain, zero sums, and the limits of accounts.

What it finds is kept and told, and stops nothing. `ledgerx_streams.scrubber` compares with this state what is stored.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from ledgerx import findings, rows
from ledgerx.database import Connection, Queries
from ledgerx.events import EntryRecord, entry
from ledgerx.findings import Finding
from ledgerx.journal import AccountState, AccountType, Entry, genesis
from ledgerx.state import Sums, balance
from ledgerx.verify import wrong_with
from ledgerx_streams.projections import Projection

# Until what was recorded is read again, at the latest.
SOON_S = 10.0

_queries = Queries("ledgerx_streams", "sql/audit.sql")


class Guard(msgspec.Struct, kw_only=True, gc=False):
    """An account with its limits, in minor units on its normal side, and its sums as of some entry. It changes."""

    account_id: int
    type: AccountType
    min_balance: int | None = None
    max_balance: int | None = None
    sums: Sums = Sums()

    @property
    def has_limits(self) -> bool:
        """Whether there is anything to hold."""
        return self.min_balance is not None or self.max_balance is not None

    @property
    def holds(self) -> bool:
        """Whether the sums lie within the limits."""
        now = balance(self.sums, self.type)
        return (self.min_balance is None or now.available >= self.min_balance) and (
            self.max_balance is None or now.ceiling <= self.max_balance
        )


def follow(
    previous_hash: bytes, entries: Iterable[Entry], guards: Mapping[int, Guard]
) -> tuple[list[Finding], set[int]]:
    """What is wrong with consecutive `entries`, and which of `guards`, by account id, they have changed.

    `guards` are brought up to the last entry. They have to be all accounts that have limits before or get them here.
    """
    found = []
    changed: set[int] = set()
    for one in entries:
        found += [Finding(one.seq, what) for what in wrong_with(previous_hash, one)]
        touched = set()
        for line in one.postings:
            guard = guards.get(line.account_id)
            if guard is not None:
                guard.sums = guard.sums.plus(line.layer, line.amount)
                touched.add(line.account_id)
        if isinstance(one.change, AccountState) and one.change.account_id in guards:
            guard = guards[one.change.account_id]
            guard.min_balance, guard.max_balance = _number(one.change.min_balance), _number(one.change.max_balance)
            touched.add(guard.account_id)
        found += [
            Finding(one.seq, f"account {account_id} is beyond its limits")
            for account_id in sorted(touched)
            if not guards[account_id].holds
        ]
        changed |= touched
        previous_hash = one.hash
    return found, changed


async def _write(connection: Connection, tenant_id: UUID, records: Sequence[EntryRecord]) -> None:
    entries = [entry(record) for record in records]
    touched = {line.account_id for one in entries for line in one.postings}
    changed = [one for one in entries if isinstance(one.change, AccountState)]
    account_ids = touched | {one.change.account_id for one in changed if isinstance(one.change, AccountState)}
    audit = await connection.execute(_queries.audit, {"tenant_id": tenant_id})
    kept = await connection.execute(_queries.guards, {"tenant_id": tenant_id, "account_ids": sorted(account_ids)})
    seq, previous_hash = await audit.fetchone() or (0, genesis(tenant_id))
    if seq != entries[0].seq - 1:
        raise ValueError(f"the audit is at the entry {seq}, and the next one is {entries[0].seq}")
    known = {row[0]: _guard(row) async for row in kept}
    guards = known | await _beginning(connection, tenant_id, seq, changed, known)
    found, moved = follow(previous_hash, entries, guards)
    await _keep(connection, tenant_id, known, [guards[account_id] for account_id in sorted(moved)])
    await findings.record(connection, tenant_id, found, found_by=AUDIT.name)
    state = {"tenant_id": tenant_id, "seq": entries[-1].seq, "hash": entries[-1].hash, "soon_s": SOON_S}
    await connection.execute(_queries.keep_audit, state)


async def _beginning(
    connection: Connection, tenant_id: UUID, seq: int, changed: Iterable[Entry], known: Iterable[int]
) -> dict[int, Guard]:
    """The accounts that get limits in `changed` entries, as of the entry `seq` before them."""
    fresh: dict[int, Guard] = {}
    older = []
    for one in changed:
        state = one.change
        if isinstance(state, AccountState) and (state.min_balance or state.max_balance):
            fresh[state.account_id] = Guard(account_id=state.account_id, type=state.type)
            if state.account_id <= seq:
                older.append(state.account_id)
    for account_id in known:
        fresh.pop(account_id, None)
    older = sorted(fresh.keys() & set(older))
    if older:
        parameters = {"tenant_id": tenant_id, "account_ids": older, "upto": seq}
        async for account_id, *sums in await connection.execute(_queries.sums, parameters):
            fresh[account_id].sums = rows.sums(*sums)
    return fresh


async def _keep(connection: Connection, tenant_id: UUID, known: Collection[int], changed: Sequence[Guard]) -> None:
    kept = [one for one in changed if one.has_limits]
    if kept:
        await connection.execute(
            _queries.keep_guards,
            {
                "tenant_id": tenant_id,
                "account_id": _array(one.account_id for one in kept),
                "type": [one.type.value for one in kept],
                "min_balance": _array(one.min_balance for one in kept),
                "max_balance": _array(one.max_balance for one in kept),
                "posted": _array(one.sums.posted for one in kept),
                "pending_debit": _array(one.sums.pending_debit for one in kept),
                "pending_credit": _array(one.sums.pending_credit for one in kept),
            },
        )
    dropped = [one.account_id for one in changed if not one.has_limits and one.account_id in known]
    if dropped:
        await connection.execute(_queries.drop_guards, {"tenant_id": tenant_id, "account_ids": dropped})


def _array(values: Iterable[int | None]) -> str:
    """Numbers as an array literal, which always has the same type."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"


def _guard(row: rows.Row) -> Guard:
    account_id, account_type, least, most, *sums = row
    return Guard(
        account_id=account_id,
        type=AccountType(account_type),
        min_balance=_number(least),
        max_balance=_number(most),
        sums=rows.sums(*sums),
    )


def _number(value: object) -> int | None:
    return None if value is None else int(str(value))


async def _clear(connection: Connection, tenant_id: UUID) -> None:
    await connection.execute(_queries.clear, {"tenant_id": tenant_id})


AUDIT = Projection(name="audit", write=_write, clear=_clear)
