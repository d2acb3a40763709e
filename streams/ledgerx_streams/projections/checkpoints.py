"""The Merkle tree over every tenant's entries, in tiles, and the trial balance of what is in it.

Ready to be signed by `ledgerx_streams.signing`. A leaf is the hash of an entry, which covers the entry's canonical
encoding: nothing is encoded here.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from ledgerx import tiles
from ledgerx.checkpoints import BalanceLine, decode_lines, encode_lines
from ledgerx.database import Connection, Queries
from ledgerx.events import EntryRecord
from ledgerx.journal import AccountType, Kind, Layer
from ledgerx.merkle import HASH_BYTES, Node, Tree, leaf_hash
from ledgerx_streams.projections import Projection

# Types of accounts that a worker remembers; beyond them it begins anew.
TYPES_REMEMBERED = 200_000

_queries = Queries("ledgerx_streams", "sql/checkpoints.sql")


class AccountTypes:
    """The types of accounts, which never change, by tenant and id."""

    def __init__(self) -> None:
        self._known: dict[tuple[UUID, int], AccountType] = {}

    async def of(
        self, connection: Connection, tenant_id: UUID, entries: Iterable[EntryRecord]
    ) -> Mapping[int, AccountType]:
        """Those of the accounts that `entries` touch. Raises `ValueError` where the tenant has no such account."""
        if len(self._known) > TYPES_REMEMBERED:
            self._known.clear()
        touched = set()
        for entry in entries:
            if entry.kind is Kind.OPEN_ACCOUNT:
                # After a fork another account may have the number.
                self._known.pop((tenant_id, entry.seq), None)
            for line in entry.postings:
                touched.add(line.account_id)
        unknown = [account_id for account_id in touched if (tenant_id, account_id) not in self._known]
        if unknown:
            found = await connection.execute(_queries.types, {"tenant_id": tenant_id, "account_ids": unknown})
            async for account_id, account_type in found:
                self._known[tenant_id, account_id] = AccountType(account_type)
        try:
            return {account_id: self._known[tenant_id, account_id] for account_id in touched}
        except KeyError as error:
            raise ValueError(f"there is no account {error.args[0][1]}") from None


def grow(tree: Tree, entries: Iterable[EntryRecord]) -> list[tuple[Node, bytes]]:
    """Add `entries` to `tree` and return the nodes that this makes, in order."""
    made: list[tuple[Node, bytes]] = []
    for entry in entries:
        made += tree.append(leaf_hash(entry.hash))
    return made


def balanced(
    lines: Iterable[BalanceLine], entries: Iterable[EntryRecord], types: Mapping[int, AccountType]
) -> list[BalanceLine]:
    """A trial balance with the posted lines of `entries` added."""
    totals = {(line.asset, line.type): (line.scale, int(line.posted)) for line in lines}
    for entry in entries:
        for posting in entry.postings:
            if posting.layer is Layer.POSTED:
                key = posting.asset, types[posting.account_id]
                scale, posted = totals.get(key, (posting.scale, 0))
                totals[key] = scale, posted + int(posting.amount)
    return [BalanceLine(asset, str(posted), scale, kind) for (asset, kind), (scale, posted) in sorted(totals.items())]


async def write_tree(
    connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord], account_types: AccountTypes
) -> None:
    """Add consecutive entries to a tenant's tree. Raises `ValueError` where the tree does not end before them."""
    cursor = await connection.execute(_queries.tree, {"tenant_id": tenant_id})
    row = await cursor.fetchone()
    size, hashes, lines = row or (0, b"", "[]")
    if size != entries[0].seq - 1:
        raise ValueError(f"the tree has {size} entries, and the next one is {entries[0].seq}")
    tree = Tree(size, [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)])
    types = await account_types.of(connection, tenant_id, entries)
    added = tiles.additions(grow(tree, entries))
    await connection.execute(
        _queries.append,
        {
            "tenant_id": tenant_id,
            "levels": [level for level, _ in added],
            "indexes": [index for _, index in added],
            "hashes": list(added.values()),
        },
    )
    await connection.execute(
        _queries.keep_tree,
        {
            "tenant_id": tenant_id,
            "size": tree.size,
            "hashes": b"".join(tree.hashes),
            "trial_balance": encode_lines(balanced(decode_lines(lines), entries, types)),
        },
    )


def _checkpoints() -> Projection:
    account_types = AccountTypes()

    async def write(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
        await write_tree(connection, tenant_id, entries, account_types)

    async def clear(connection: Connection, tenant_id: UUID) -> None:
        await connection.execute(_queries.clear, {"tenant_id": tenant_id})

    return Projection(name="checkpoints", write=write, clear=clear)


CHECKPOINTS = _checkpoints()
