"""Where the nodes of a Merkle tree are kept: in tiles of up to 256 hashes (https://c2sp.org/tlog-tiles, height 8).

Pure. The tile (level, index) holds the hashes of the subtrees over 256^level leaves each, from the subtree
`index * 256` on. The last tile of a level is partial until it has 256. Nodes between two levels of tiles are computed.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TypeAlias

from ledgerx.merkle import HASH_BYTES, Node, Nodes, consistency_proof, cover, inclusion_proof, node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT

# A tile's level and index.
Place: TypeAlias = tuple[int, int]


def place_of(node: Node) -> Place:
    """The tile that has what makes a node."""
    level, height = divmod(node.level, HEIGHT)
    return level, (node.index << height) >> HEIGHT


def additions(made: Iterable[tuple[Node, bytes]]) -> dict[Place, bytes]:
    """What is to be appended to tiles when a tree has made these nodes, in this order."""
    added: dict[Place, list[bytes]] = {}
    for node, node_bytes in made:
        if node.level % HEIGHT == 0:
            added.setdefault((node.level // HEIGHT, node.index >> HEIGHT), []).append(node_bytes)
    return {place: b"".join(hashes) for place, hashes in added.items()}


def places_for_inclusion(index: int, size: int) -> frozenset[Place]:
    """The tiles that `inclusion_proof` asks. Raises `ValueError`."""
    return _asked(partial(inclusion_proof, index, size))


def places_for_consistency(old: int, size: int) -> frozenset[Place]:
    """The tiles that `consistency_proof` asks. Raises `ValueError`."""
    return _asked(partial(consistency_proof, old, size))


def places_for_root(size: int) -> frozenset[Place]:
    """The tiles that make the root of a tree of `size` leaves."""
    return frozenset(map(place_of, cover(0, size)))


def nodes_in(tiles: Mapping[Place, bytes]) -> Nodes:
    """The nodes of a tree by its tiles. Asking for one that is not there raises `LookupError`."""

    def node(wanted: Node) -> bytes:
        level, height = divmod(wanted.level, HEIGHT)
        first = wanted.index << height
        start = (first % WIDTH) * HASH_BYTES
        found = tiles[level, first >> HEIGHT][start : start + (HASH_BYTES << height)]
        if len(found) != HASH_BYTES << height:
            raise LookupError(f"a tile of level {level} ends before the node {wanted}")
        hashes = [found[at : at + HASH_BYTES] for at in range(0, len(found), HASH_BYTES)]
        while len(hashes) > 1:
            hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    return node


def _asked(prove: "partial[list[bytes]]") -> frozenset[Place]:
    places = set()

    def note(node: Node) -> bytes:
        places.add(place_of(node))
        return bytes(HASH_BYTES)

    prove(note)
    return frozenset(places)
