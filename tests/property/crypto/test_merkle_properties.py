"""Merkle proofs: every honest one verifies, and no altered one does."""

from hypothesis import given
from hypothesis import strategies as st

from plait.crypto import merkle
from plait.native import merkle_root

leaf_lists = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


@given(st.lists(st.binary(max_size=80), max_size=300))
def test_the_native_root_is_the_python_root(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == merkle.root(leaves)


@given(leaf_lists, st.data())
def test_every_leaf_is_provable_and_nothing_else_is(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = merkle.inclusion_proof(leaves, index)
    root = merkle.root(leaves)
    assert merkle.verify_inclusion(leaves[index], index, len(leaves), proof, root)
    assert not merkle.verify_inclusion(leaves[index] + b"x", index, len(leaves), proof, root)
    assert not merkle.verify_inclusion(leaves[index], len(leaves), len(leaves), proof, root)
    assert not merkle.verify_inclusion(leaves[index], index, len(leaves), [*proof, root], root)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        altered = list(proof)
        altered[place] = merkle.leaf_hash(altered[place])
        assert not merkle.verify_inclusion(leaves[index], index, len(leaves), altered, root)
        assert not merkle.verify_inclusion(leaves[index], index, len(leaves), proof[:-1], root)
        other = data.draw(st.integers(0, len(leaves) - 1))
        if leaves[other] != leaves[index]:
            assert not merkle.verify_inclusion(leaves[index], other, len(leaves), proof, root)


@given(leaf_lists, st.data())
def test_a_tree_is_consistent_with_its_prefixes_and_with_no_other_tree(
    leaves: list[bytes], data: st.DataObject
) -> None:
    old_size = data.draw(st.integers(1, len(leaves)))
    proof = merkle.consistency_proof(leaves, old_size)
    old, new = merkle.root(leaves[:old_size]), merkle.root(leaves)
    assert merkle.verify_consistency(old_size, len(leaves), old, new, proof)
    wrong = merkle.leaf_hash(old)
    assert not merkle.verify_consistency(old_size, len(leaves), wrong, new, proof)
    assert not merkle.verify_consistency(old_size, len(leaves), old, wrong, proof)
    assert not merkle.verify_consistency(len(leaves) + 1, len(leaves), old, new, proof)
    if proof:
        assert not merkle.verify_consistency(old_size, len(leaves), old, new, proof[:-1])
