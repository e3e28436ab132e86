"""Merkle trees have the roots of the Certificate Transparency reference tests, and proofs that RFC 6962 prints."""

import pytest

from plait.crypto import merkle
from plait.crypto.commitments import EMPTY_ITEMS_ROOT, commit, id_leaf, items_root_of, rollup_leaf
from plait.native import merkle_root
from plait.types import RollupId

# Inputs and roots of the reference implementation of RFC 6962 (google/certificate-transparency, merkle tree tests).
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference_implementation(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size - 1]
    assert merkle_root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert merkle.root([]) == merkle_root([]) == EMPTY_ITEMS_ROOT == merkle.EMPTY_ROOT == items_root_of([])


def test_the_audit_paths_of_rfc_6962_section_2_1_3() -> None:
    """The RFC's tree of seven leaves: paths of d0, d3, d4 and d6 by the names it gives the nodes."""
    d = LEAVES[:7]
    a, b, c, e, f, j = (merkle.leaf_hash(d[i]) for i in (0, 1, 2, 4, 5, 6))
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, merkle.leaf_hash(d[3])), merkle.node_hash(e, f)
    k = merkle.node_hash(g, h)
    node_l = merkle.node_hash(i, j)
    assert merkle.inclusion_proof(d, 0) == [b, h, node_l]
    assert merkle.inclusion_proof(d, 3) == [c, g, node_l]
    assert merkle.inclusion_proof(d, 4) == [f, j, k]
    assert merkle.inclusion_proof(d, 6) == [i, k]


def test_the_consistency_proofs_of_rfc_6962_section_2_1_3() -> None:
    """The RFC's growth of a tree from 3, 4 and 6 leaves to 7."""
    d = LEAVES[:7]
    a, b, c, dd, e, f, j = (merkle.leaf_hash(leaf) for leaf in d)
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, dd), merkle.node_hash(e, f)
    k, node_l = merkle.node_hash(g, h), merkle.node_hash(i, j)
    assert merkle.consistency_proof(d, 3) == [c, dd, g, node_l]
    assert merkle.consistency_proof(d, 4) == [node_l]
    assert merkle.consistency_proof(d, 6) == [i, j, k]


def test_asking_for_a_leaf_that_is_not_there_is_an_error() -> None:
    for call in (lambda: merkle.inclusion_proof(LEAVES, 8), lambda: merkle.consistency_proof(LEAVES, 9)):
        with pytest.raises(IndexError):
            call()


def test_a_commitment_proves_an_item_of_a_rollup_and_that_a_rollup_is_listed() -> None:
    """From the rollups root alone a verifier follows a rollup's leaf, then an item; the ids tree shows neighbours."""
    ids = [RollupId(901), RollupId(902), RollupId(910)]
    items = {RollupId(902): [b"one", b"two", b"three"]}
    commitment = commit(ids, items)
    leaves = [rollup_leaf(i, r) for i, r in zip(ids, commitment.items_roots, strict=True)]
    path = merkle.inclusion_proof(leaves, 1)
    assert merkle.verify_inclusion(leaves[1], 1, 3, path, commitment.rollups_root)
    item_path = merkle.inclusion_proof(items[RollupId(902)], 2)
    assert merkle.verify_inclusion(b"three", 2, 3, item_path, commitment.items_roots[1])
    assert commitment.items_roots[0] == commitment.items_roots[2] == EMPTY_ITEMS_ROOT
    neighbours = [id_leaf(i) for i in ids]
    for place in (1, 2):
        proof = merkle.inclusion_proof(neighbours, place)
        assert merkle.verify_inclusion(neighbours[place], place, 3, proof, commitment.ids_root)
