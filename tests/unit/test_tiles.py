"""Proofs from tiles are those of the tree, whatever its size."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx import tiles
from ledgerx.merkle import (
    HASH_BYTES,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from ledgerx.tiles import Place

LEAVES = [leaf_hash(sha256(b"%d" % number).digest()) for number in range(66_000)]


def grown(sizes: list[int]) -> tuple[dict[Place, bytes], list[bytes]]:
    """The tiles of a tree that grew in these steps, and its root after each."""
    kept: dict[Place, bytes] = {}
    tree, roots = Tree(), []
    for size in sizes:
        made = [node for leaf in LEAVES[tree.size : size] for node in tree.append(leaf)]
        for place, added in tiles.additions(made).items():
            kept[place] = kept.get(place, b"") + added
        tree = Tree(tree.size, tree.hashes)
        roots.append(tree.root())
    return kept, roots


SIZES = [*range(1, 700), 65_536, 66_000]
KEPT, ROOTS = grown(SIZES)


def test_tiles_are_full_but_for_the_last_of_each_level() -> None:
    widths = {place: len(hashes) // HASH_BYTES for place, hashes in KEPT.items()}
    assert {place for place, width in widths.items() if width != tiles.WIDTH} == {(0, 257), (1, 1), (2, 0)}
    assert (widths[0, 257], widths[1, 1], widths[2, 0]) == (66_000 - 257 * 256, 1, 1)


@given(st.sampled_from(range(len(SIZES))), st.data())
def test_a_leaf_is_proved_from_the_tiles_that_are_asked_for(number: int, data: st.DataObject) -> None:
    size = SIZES[number]
    index = data.draw(st.integers(0, size - 1))
    asked = {place: KEPT[place] for place in tiles.places_for_inclusion(index, size)}
    proof = inclusion_proof(index, size, tiles.nodes_in(asked))
    assert verify_inclusion(index, size, LEAVES[index], proof, ROOTS[number])


@given(st.lists(st.sampled_from(range(len(SIZES))), min_size=2, max_size=2))
def test_two_sizes_are_proved_from_the_tiles_that_are_asked_for(numbers: list[int]) -> None:
    older, newer = sorted(numbers)
    asked = {place: KEPT[place] for place in tiles.places_for_consistency(SIZES[older], SIZES[newer])}
    proof = consistency_proof(SIZES[older], SIZES[newer], tiles.nodes_in(asked))
    assert verify_consistency(SIZES[older], SIZES[newer], proof, ROOTS[older], ROOTS[newer])


@given(st.sampled_from(range(len(SIZES))))
def test_a_root_is_that_of_its_tiles(number: int) -> None:
    asked = {place: KEPT[place] for place in tiles.places_for_root(SIZES[number])}
    assert root_of(SIZES[number], tiles.nodes_in(asked)) == ROOTS[number]


def test_a_tile_that_ends_too_early_is_noticed() -> None:
    with pytest.raises(LookupError, match="ends before"):
        root_of(300, tiles.nodes_in({(0, 1): b"", (1, 0): KEPT[1, 0]}))
    with pytest.raises(LookupError):
        root_of(300, tiles.nodes_in({}))
