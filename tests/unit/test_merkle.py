"""The Merkle tree against published vectors, and against the definition of RFC 6962 written down as it stands there."""

import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.merkle import (
    Node,
    Tree,
    consistency_proof,
    cover,
    inclusion_proof,
    leaf_hash,
    root_hash,
    verify_consistency,
    verify_inclusion,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "rfc6962_vectors.json").read_text())
DATA = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]
SIZES = st.integers(0, 130)


def mth(data: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = largest_power_of_two_below(len(data))
    return sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(data) == 1:
        return []
    k = largest_power_of_two_below(len(data))
    return [*path(m, data[:k]), mth(data[k:])] if m < k else [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: list[bytes], *, known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if m == len(data):
        return [] if known else [mth(data)]
    k = largest_power_of_two_below(len(data))
    if m <= k:
        return [*subproof(m, data[:k], known=known), mth(data[k:])]
    return [*subproof(m - k, data[k:], known=False), mth(data[:k])]


def largest_power_of_two_below(number: int) -> int:
    k = 1
    while 2 * k < number:
        k *= 2
    return k


def numbered(size: int) -> list[bytes]:
    return [f"{number}".encode() for number in range(size)]


class Kept:
    """All the nodes that a growing tree made."""

    def __init__(self, data: list[bytes]) -> None:
        self.nodes: dict[Node, bytes] = {}
        self.tree = Tree()
        for one in data:
            self.nodes |= dict(self.tree.append(leaf_hash(one)))

    def __call__(self, node: Node) -> bytes:
        return self.nodes[node]


def test_the_roots_are_the_published_ones() -> None:
    assert [root_hash(map(leaf_hash, DATA[:size])) for size in range(len(DATA) + 1)] == ROOTS


@pytest.mark.parametrize("vector", VECTORS["inclusion"])
def test_the_inclusion_proofs_are_the_published_ones(vector: dict[str, Any]) -> None:
    index, size, proof = vector["index"], vector["size"], [bytes.fromhex(one) for one in vector["proof"]]
    assert inclusion_proof(index, size, Kept(DATA)) == proof
    assert verify_inclusion(index, size, leaf_hash(DATA[index]), proof, ROOTS[size])


@pytest.mark.parametrize("vector", VECTORS["consistency"])
def test_the_consistency_proofs_are_the_published_ones(vector: dict[str, Any]) -> None:
    old, size, proof = vector["old"], vector["size"], [bytes.fromhex(one) for one in vector["proof"]]
    assert consistency_proof(old, size, Kept(DATA)) == proof
    assert verify_consistency(old, size, proof, ROOTS[old], ROOTS[size])


@given(SIZES)
def test_a_tree_that_grew_leaf_by_leaf_has_the_hash_of_the_definition(size: int) -> None:
    data = numbered(size)
    kept = Kept(data)
    assert kept.tree.root() == mth(data)
    assert kept.tree.hashes == tuple(kept(node) for node in cover(0, size))
    for node, made in kept.nodes.items():
        assert made == mth(data[node.index << node.level : (node.index + 1) << node.level])


@given(SIZES, SIZES)
def test_a_tree_goes_on_from_its_hashes(size: int, more: int) -> None:
    before = Kept(numbered(size)).tree
    tree = Tree(before.size, before.hashes)
    for one in numbered(size + more)[size:]:
        tree.append(leaf_hash(one))
    assert tree.root() == mth(numbered(size + more))
    assert before.root() == mth(numbered(size))


@given(SIZES, SIZES)
def test_a_cover_is_as_short_as_can_be_and_without_gap(one: int, other: int) -> None:
    start, end = sorted((one, other))
    nodes = list(cover(start, end))
    leaves = [leaf for node in nodes for leaf in range(node.index << node.level, (node.index + 1) << node.level)]
    assert leaves == list(range(start, end))
    for left, right in pairwise(nodes):
        assert left.level != right.level or left.index % 2 == 1


@given(st.data(), st.integers(1, 130))
def test_inclusion_is_proved_as_defined_and_of_nothing_else(draw: st.DataObject, size: int) -> None:
    data = numbered(size)
    index = draw.draw(st.integers(0, size - 1))
    # The tree has grown since: a proof is for any size that it once had.
    proof = inclusion_proof(index, size, Kept(numbered(size + draw.draw(SIZES))))
    leaf, root = leaf_hash(data[index]), mth(data)
    assert proof == path(index, data)
    assert verify_inclusion(index, size, leaf, proof, root)
    assert not verify_inclusion(index, size, leaf_hash(b"other"), proof, root)
    assert not verify_inclusion(index, size, leaf, proof, mth([*data, b"other"]))
    assert not verify_inclusion(index, size, leaf, [*proof, bytes(32)], root)
    assert not verify_inclusion(index, size, leaf, proof, leaf) or size == 1
    for other in range(size):
        assert verify_inclusion(other, size, leaf, proof, root) == (other == index)
    for broken in mutations(proof):
        assert not verify_inclusion(index, size, leaf, broken, root)


@given(SIZES, SIZES)
def test_consistency_is_proved_as_defined_and_of_nothing_else(one: int, other: int) -> None:
    old, size = sorted((one, other))
    data = numbered(size)
    old_root, root = mth(data[:old]), mth(data)
    proof = consistency_proof(old, size, Kept(data))
    assert proof == (subproof(old, data, known=True) if old else [])
    assert verify_consistency(old, size, proof, old_root, root)
    assert not verify_consistency(old, size, [*proof, bytes(32)], old_root, root)
    assert not verify_consistency(old, size, proof, mth([b"forged", *data[1:old]]), root)
    assert not verify_consistency(old, size, proof, old_root, mth([b"forged", *data[1:]])) or old == 0
    for broken in mutations(proof):
        assert not verify_consistency(old, size, broken, old_root, root)


def mutations(proof: list[bytes]) -> list[list[bytes]]:
    """A proof with each of its hashes changed, left out and cut short."""
    changed = [[*proof[:n], bytes([one[0] ^ 1]) + one[1:], *proof[n + 1 :]] for n, one in enumerate(proof)]
    left_out = [[*proof[:n], *proof[n + 1 :]] for n in range(len(proof))]
    cut = [[*proof[:n], one[:-1], *proof[n + 1 :]] for n, one in enumerate(proof)]
    return changed + left_out + cut


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(index, size, Kept(numbered(3)))
    assert not verify_inclusion(index, size, leaf_hash(b"0"), [], leaf_hash(b"0"))


@pytest.mark.parametrize(("old", "size"), [(-1, 3), (4, 3)])
def test_a_tree_has_no_beginning_that_is_longer(old: int, size: int) -> None:
    with pytest.raises(ValueError, match="no beginning"):
        consistency_proof(old, size, Kept(numbered(4)))
    assert not verify_consistency(old, size, [], mth(numbered(4)), mth(numbered(3)))


def test_a_tree_goes_on_from_as_many_hashes_as_its_size_has_bits() -> None:
    with pytest.raises(ValueError, match="has 2 hashes"):
        Tree(5, [bytes(32)])
