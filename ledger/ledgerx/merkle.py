"""The Merkle tree of RFC 6962 (section 2.1; the same in RFC 9162, 2.1) over SHA-256: hashes, proofs, verification.

Pure. A node is named by its level (0 for leaves) and its index there: it stands over the leaves from
`index << level` to `(index + 1) << level`, all of them. Such nodes never change once they are made, so whoever keeps
them can prove anything about any size of the tree; `Nodes` is how a proof asks for them.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import TypeAlias

import msgspec

HASH_BYTES = 32


class Node(msgspec.Struct, frozen=True, order=True):
    """The place of a perfect subtree in the tree."""

    level: int
    index: int


Nodes: TypeAlias = Callable[[Node], bytes]


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def cover(start: int, end: int) -> Iterator[Node]:
    """The fewest nodes that stand over the leaves from `start` up to, not including, `end`, from left to right."""
    while start < end:
        # The largest that begins at `start` and does not reach beyond `end`.
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield Node(level, start >> level)
        start += 1 << level


class Tree:
    """A growing tree that keeps only the nodes of `cover(0, size)`: a hash for each bit set in its size."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Go on with a tree of `size` leaves whose `cover` has `hashes`. Raises `ValueError` when they are not as many.

        Without arguments the tree is empty.
        """
        if len(hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} hashes, not {len(hashes)}")
        self.size = size
        self._hashes = list(hashes)

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Those to go on with."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> Sequence[tuple[Node, bytes]]:
        """Add the hash of a leaf and return the nodes that this makes, from the leaf upwards."""
        level, index, top = 0, self.size, leaf
        made = [(Node(level, index), top)]
        # As adding one carries through the bits of the size, every full pair becomes a node above it.
        while index & 1:
            level, index, top = level + 1, index >> 1, node_hash(self._hashes.pop(), top)
            made.append((Node(level, index), top))
        self._hashes.append(top)
        self.size += 1
        return made

    def root(self) -> bytes:
        """The tree's hash."""
        return _fold(self._hashes)


def root_hash(leaves: Iterable[bytes]) -> bytes:
    """The hash of the tree over hashes of leaves; that of an empty tree is the hash of nothing."""
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def root_of(size: int, nodes: Nodes) -> bytes:
    """The hash of the tree of the first `size` leaves."""
    return _hash(0, size, nodes)


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """The path that proves the leaf `index` (from 0) to be in the tree of `size` leaves (RFC 6962, 2.1.1).

    Raises `ValueError` when it is not.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    return [_hash(start, end, nodes) for start, end in _siblings(index, index + 1, size)]


def consistency_proof(old: int, size: int, nodes: Nodes) -> list[bytes]:
    """The path that proves the tree of `old` leaves to be the beginning of that of `size` leaves (RFC 6962, 2.1.2).

    Empty where there is nothing to prove: `old` is 0 or `size`. Raises `ValueError` when `old` is not up to `size`.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} leaves has no beginning of {old}")
    if old in {0, size}:
        return []
    # The last node of the old tree is in both trees; where it is all of the old tree, its hash is known anyway.
    *_, last = cover(0, old)
    start, end = last.index << last.level, (last.index + 1) << last.level
    known = [] if start == 0 else [nodes(last)]
    return known + [_hash(*sibling, nodes) for sibling in _siblings(start, end, size)]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` leads from the hash of the leaf `index` to the `root` of `size` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _well_formed(proof):
        return False
    position, last = index, size - 1
    found = leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and hmac.compare_digest(found, root)


def verify_consistency(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> bool:
    """Whether `proof` shows the tree of `old` leaves to be the beginning of that of `size` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= size or not _well_formed(proof):
        return False
    if old in {0, size}:
        expected = root if old else _fold([])
        return not proof and hmac.compare_digest(old_root, expected)
    position, last = old - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    # An old tree that is one node has a hash which the proof need not repeat.
    path = iter(proof if position else [old_root, *proof])
    before = after = next(path, b"")
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and hmac.compare_digest(before, old_root) and hmac.compare_digest(after, root)


def _siblings(start: int, end: int, size: int) -> list[tuple[int, int]]:
    """The subtrees beside the way from the subtree `start` to `end` up to the root, lowest first."""
    low, high = 0, size
    beside: list[tuple[int, int]] = []
    while (low, high) != (start, end):
        middle = low + _split(high - low)
        if start < middle:
            beside.append((middle, high))
            high = middle
        else:
            beside.append((low, middle))
            low = middle
    return beside[::-1]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _hash(start: int, end: int, nodes: Nodes) -> bytes:
    return _fold([nodes(node) for node in cover(start, end)])


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The hash over neighbouring subtrees that grow smaller to the right."""
    if not hashes:
        return hashlib.sha256().digest()
    return reduce(lambda right, left: node_hash(left, right), hashes[-2::-1], hashes[-1])


def _well_formed(proof: Sequence[bytes]) -> bool:
    return all(len(one) == HASH_BYTES for one in proof)
