"""Reads stored journals again and compares them with their chain, their tree and what the audit knows of them.

There are two passes: what was recorded within the last hour is read every half minute, everything every day. A page is
the entries of one tile. What is wrong is kept as a finding and told; nothing is repaired, and nobody is stopped.
"""

import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
import psycopg
import structlog
from prometheus_client import Counter, Histogram

from ledgerx import findings, rows
from ledgerx.database import Connection, Pool, Queries, tenant_scope
from ledgerx.findings import Finding
from ledgerx.journal import AccountState, Entry, genesis
from ledgerx.merkle import HASH_BYTES, leaf_hash
from ledgerx.tiles import WIDTH
from ledgerx.verify import wrong_with

RECENT_S = 3_600.0
RECENT_EVERY_S = 30.0
FULL_EVERY_S = 86_400.0
GUARDED_PER_PAGE = 100
TENANTS_AT_ONCE = 500
# Of so many pages of a tenant one is of the full pass, however much there is to do for the other.
_FULL_IN = 4
# What is left of a second is for others.
_LONGEST_S = 0.8

_READ = Counter("ledgerx_scrubbed_entries", "Stored entries read again.", ["of"])
_PASSES = Histogram(
    "ledgerx_scrub_pass_seconds",
    "From the beginning to the end of a pass over a tenant's stored entries.",
    ["of"],
    buckets=(1, 5, 10, 30, 60, 300, 3_600, 14_400, 86_400, 604_800),
)

_log = structlog.get_logger()
_queries = Queries("ledgerx_streams", "sql/scrubber.sql")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the passes over a journal stand, and what is said of its end: columns of the query `place`."""

    recent_due: int
    full_due: int
    recent_next: int
    full_next: int
    guarded_next: int
    audited_seq: int
    audited_hash: bytes
    hash_at_audited: bytes | None
    head_seq: int
    head_hash: bytes
    hash_at_head: bytes | None
    tree_size: int


def wrong_with_end(place: Place, tenant_id: UUID) -> list[Finding]:
    """What the head, the audit and the tree say that the stored entries do not."""
    found = []
    start = genesis(tenant_id)
    if place.head_hash != (place.hash_at_head if place.head_seq else start):
        found.append(Finding(None, "the journal's head has a hash that is not that of its entry"))
    known = max(place.audited_seq, place.tree_size)
    if place.head_seq < known:
        found.append(Finding(None, f"the journal ends before the entry {known}, which it had"))
    elif place.audited_hash != (place.hash_at_audited if place.audited_seq else start):
        found.append(Finding(place.audited_seq, "the entry is another one than the audit has followed"))
    return found


def wrong_with_page(
    seqs: range, entries: Mapping[int, Entry], previous_hash: bytes | None, leaves: Sequence[bytes]
) -> list[Finding]:
    """What is wrong with the entries `seqs`, those of them that there are, after the hash of the one before.

    `leaves` are those of the tree from the entry `seqs.start` on, as far as it reaches.
    """
    found = []
    for at, seq in enumerate(seqs):
        entry = entries.get(seq)
        if entry is None:
            found.append(Finding(seq, f"entry {seq} is missing"))
            previous_hash = None
            continue
        found += [Finding(seq, what) for what in wrong_with(previous_hash, entry)]
        if at < len(leaves) and leaf_hash(entry.hash) != leaves[at]:
            found.append(Finding(seq, "the entry is another one than that in the Merkle tree"))
        previous_hash = entry.hash
    return found


class Scrubber:
    """Reads at most `entries_per_s` entries again for each call of `scrub_due`, which is to be one a second."""

    def __init__(self, pool: Pool, *, entries_per_s: int) -> None:
        self._pool = pool
        self._entries_per_s = entries_per_s
        self._rounds = 0

    async def scrub_due(self) -> int:
        """Read what is due, a page of each tenant in turn, and return how many entries. Raises `psycopg.Error`."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_queries.due_audits, {"most": TENANTS_AT_ONCE})
            due = [tenant_id for (tenant_id,) in await cursor.fetchall()]
        done, ends = 0, time.monotonic() + _LONGEST_S
        while due:
            again = []
            self._rounds += 1
            for tenant_id in due:
                if done >= self._entries_per_s or time.monotonic() > ends:
                    return done
                try:
                    read = await self.scrub_page(tenant_id, full_first=self._rounds % _FULL_IN == 0)
                except psycopg.Error as error:
                    _log.warning("journal not read again", tenant=str(tenant_id), error=str(error).strip())
                    continue
                if read:
                    again.append(tenant_id)
                    done += read
            due = again
        return done

    async def scrub_page(self, tenant_id: UUID, *, full_first: bool = False) -> int:
        """Read the next page that is due of a tenant, by the full pass with `full_first`; return how many entries."""
        async with self._pool.connection() as connection, tenant_scope(connection, tenant_id):
            parameters = {"tenant_id": tenant_id, "recent_s": RECENT_S}
            # The second statement sees what was committed before the first got its lock: nothing is behind the audit.
            locked = await connection.execute(_queries.lock_audit, parameters)
            cursor = await connection.execute(_queries.place, parameters, binary=True)
            row = await cursor.fetchone()
            if await locked.fetchone() is None or row is None:
                return 0
            place = Place(**dict(zip(Place.__struct_fields__, row, strict=True)))
            if not (place.recent_due or place.full_due):
                return 0
            full = bool(place.full_due) and (full_first or not place.recent_due)
            first = place.full_next if full else place.recent_next
            end = min(first - (first - 1) % WIDTH + WIDTH, place.head_seq + 1)
            seqs = range(first, max(end, first))
            found = wrong_with_end(place, tenant_id) + await _read_page(connection, tenant_id, seqs)
            wrong, guarded_next = await _read_guarded(connection, tenant_id, place.guarded_next)
            await findings.record(connection, tenant_id, found + wrong, found_by="scrubber")
            progress = {
                "tenant_id": tenant_id,
                "next": seqs.stop if seqs and seqs.stop <= place.head_seq else 0,
                "guarded_next": guarded_next,
            }
            if full:
                query, more = _queries.full_done, {"every_s": FULL_EVERY_S}
            else:
                query, more = _queries.recent_done, {"every_s": RECENT_EVERY_S, "idle": not seqs}
            taken = await (await connection.execute(query, progress | more)).fetchone()
        of = "full" if full else "recent"
        _READ.labels(of).inc(len(seqs))
        if progress["next"] == 0 and taken is not None:
            _PASSES.labels(of).observe(float(taken[0]))
        return len(seqs)


async def _read_page(connection: Connection, tenant_id: UUID, seqs: range) -> list[Finding]:
    if not seqs:
        return []
    index, skipped = divmod(seqs.start - 1, WIDTH)
    entries, unreadable = await _read_entries(connection, tenant_id, range(max(seqs.start - 1, 1), seqs.stop))
    tile = await connection.execute(_queries.tile, {"tenant_id": tenant_id, "index": index}, binary=True)
    [hashes] = await tile.fetchone() or [b""]
    leaves = [hashes[at : at + HASH_BYTES] for at in range(skipped * HASH_BYTES, len(hashes), HASH_BYTES)]
    if seqs.start == 1:
        previous_hash: bytes | None = genesis(tenant_id)
    else:
        previous_hash = entries[seqs.start - 1].hash if seqs.start - 1 in entries else None
    found = wrong_with_page(seqs, entries, previous_hash, leaves)
    return unreadable + await _read_accounts(connection, tenant_id, entries) + found


async def _read_entries(
    connection: Connection, tenant_id: UUID, seqs: Sequence[int]
) -> tuple[dict[int, Entry], list[Finding]]:
    """Entries by their numbers, and those that cannot be read."""
    try:
        return {entry.seq: entry for entry in await rows.read_entries(connection, tenant_id, seqs)}, []
    except ValueError as error:
        if len(seqs) == 1:
            return {}, [Finding(seqs[0], f"the entry cannot be read: {error}")]
    entries: dict[int, Entry] = {}
    unreadable: list[Finding] = []
    for seq in seqs:
        one, wrong = await _read_entries(connection, tenant_id, [seq])
        entries |= one
        unreadable += wrong
    return entries, unreadable


async def _read_accounts(connection: Connection, tenant_id: UUID, entries: Mapping[int, Entry]) -> list[Finding]:
    """Accounts that are not as the last of their entries left them, where that is among `entries`."""
    states = {seq: one.change for seq, one in entries.items() if isinstance(one.change, AccountState)}
    if not states:
        return []
    account_ids = sorted({state.account_id for state in states.values()})
    cursor = await connection.execute(_queries.accounts, {"tenant_id": tenant_id, "account_ids": account_ids})
    found = []
    seen = set()
    for seq, account_id, *columns in await cursor.fetchall():
        seen.add(account_id)
        state = states.get(seq)
        if state is not None and columns != _columns(state):
            found.append(Finding(seq, f"account {account_id} is not as this entry left it"))
    missing = [
        Finding(None, f"account {account_id} is missing") for account_id in account_ids if account_id not in seen
    ]
    return found + missing


def _columns(state: AccountState) -> list[object]:
    limits = [None if limit is None else int(limit) for limit in (state.min_balance, state.max_balance)]
    return [state.account, state.asset, state.scale, state.type.value, state.status.value, *limits, state.owner]


async def _read_guarded(connection: Connection, tenant_id: UUID, after: int) -> tuple[list[Finding], int]:
    """Accounts whose sums the engine and the audit disagree on, and where the next page of them begins."""
    parameters = {"tenant_id": tenant_id, "after": after, "limit": GUARDED_PER_PAGE}
    cursor = await connection.execute(_queries.guarded, parameters)
    page = await cursor.fetchall()
    wrong = [Finding(None, f"guarded sums of account {one} differ from the audit's") for one, same in page if not same]
    return wrong, page[-1][0] if len(page) == GUARDED_PER_PAGE else 0
