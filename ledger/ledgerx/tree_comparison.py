"""Verification of what is signed: a tree grown anew from the entries is compared with tiles, tree and checkpoints."""

from collections.abc import Callable, Sequence
from uuid import UUID

from ledgerx import notes, rows, tiles
from ledgerx.checkpoints import (
    BalanceLine,
    BalanceStatement,
    Checkpoint,
    checkpoint_of,
    decode_lines,
    parse_statement,
    read_tiles,
)
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.journal import AccountState, AccountType, Entry, Layer
from ledgerx.merkle import HASH_BYTES, Tree, leaf_hash
from ledgerx.tiles import Place

_queries = Queries("ledgerx", "sql/checkpoints.sql")
Find = Callable[[int | None, str], None]


class TreeComparison:
    """Grows a tree of the entries that it is fed, as far as the kept one goes; holds a page of it at a time."""

    def __init__(self, connection: Connection, tenant_id: UUID, find: Find, kept: rows.Row | None) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._find = find
        self.size: int = kept[0] if kept else 0
        self._hashes: bytes = kept[1] if kept else b""
        self._lines = decode_lines(kept[2] if kept else "[]")
        self._tree = Tree()
        self._types: dict[int, AccountType] = {}
        self._totals: dict[tuple[str, AccountType], tuple[int, int]] = {}
        # Tiles that are not full yet.
        self._partial: dict[Place, bytes] = {}

    async def feed(self, entries: Sequence[Entry]) -> None:
        """Add the next entries, and compare the tiles that they fill and the checkpoints on the way."""
        entries = [entry for entry in entries if entry.seq <= self.size]
        if not entries:
            return
        bounds = {"tenant_id": self._tenant_id, "first": entries[0].seq, "last": entries[-1].seq}
        async with tenant_scope(self._connection, self._tenant_id, read_only=True):
            cursor = await self._connection.execute(_queries.checkpoints_between, bounds, binary=True)
        checkpoints = {one.size: one for one in map(checkpoint_of, await cursor.fetchall())}
        for entry in entries:
            self._count(entry)
            for place, added in tiles.additions(self._tree.append(leaf_hash(entry.hash))).items():
                self._partial[place] = self._partial.get(place, b"") + added
            if self._tree.size in checkpoints:
                self._compare_checkpoint(checkpoints[self._tree.size])
        full = {place: hashes for place, hashes in self._partial.items() if len(hashes) == tiles.WIDTH * HASH_BYTES}
        await self._compare_tiles(full)
        for place in full:
            del self._partial[place]

    async def compare(self) -> None:
        """Compare the tree and its last tiles, after the last entry."""
        if self._tree.size != self.size:
            self._find(None, f"the Merkle tree has {self.size} entries, and the journal {self._tree.size} of them")
        elif b"".join(self._tree.hashes) != self._hashes:
            self._find(None, "the Merkle tree does not go on from the hashes of its entries")
        elif self._lines != self._balance().items:
            self._find(None, "the trial balance kept with the Merkle tree is not that of its entries")
        await self._compare_tiles(self._partial)

    def _count(self, entry: Entry) -> None:
        if isinstance(entry.change, AccountState):
            self._types[entry.change.account_id] = entry.change.type
        for line in entry.postings:
            # An account that no entry opens is found elsewhere.
            if line.layer is Layer.POSTED and line.account_id in self._types:
                key = line.asset, self._types[line.account_id]
                self._totals[key] = line.scale, self._totals.get(key, (0, 0))[1] + line.amount

    def _balance(self) -> BalanceStatement:
        lines = [BalanceLine(key[0], str(sums[1]), sums[0], key[1]) for key, sums in sorted(self._totals.items())]
        return BalanceStatement(tuple(lines), self._tree.size, self._tenant_id)

    def _compare_checkpoint(self, kept: Checkpoint) -> None:
        size, root, balance = self._tree.size, self._tree.root(), self._balance()
        try:
            keys = [notes.parse_verifier_key(key) for key in kept.verifier_keys]
            said = parse_statement(notes.open_note(kept.note, keys))
        except notes.BadNoteError as error:
            self._find(size, f"the checkpoint of {size} entries cannot be verified: {error}")
            return
        if (said.size, said.root, kept.root) != (size, root, root):
            self._find(size, f"the checkpoint of {size} entries has another root than these entries")
        if (said.balance_sha256, kept.trial_balance) != (balance.sha256, balance):
            self._find(size, f"the checkpoint of {size} entries has another trial balance than these entries")

    async def _compare_tiles(self, expected: dict[Place, bytes]) -> None:
        kept = await read_tiles(self._connection, self._tenant_id, expected)
        for (level, index), hashes in sorted(expected.items()):
            # The last ones may have grown since.
            if not kept.get((level, index), b"").startswith(hashes):
                self._find(None, f"the tile {index} of level {level} is not that of the entries below it")


async def open_tree(connection: Connection, tenant_id: UUID, find: Find) -> TreeComparison:
    """What compares the tree of a tenant; `find` is told what is wrong."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.tree, {"tenant_id": tenant_id}, binary=True)
    return TreeComparison(connection, tenant_id, find, await cursor.fetchone())
