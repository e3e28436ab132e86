"""A proof of an ordered trie leads from its root to the value, for every size and kind of node."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from plait.crypto.ordered_trie import ordered_proof, ordered_root
from plait.native import keccak256

VALUES = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=300)


def nibbles(data: bytes) -> list[int]:
    return [half for byte in data for half in (byte >> 4, byte & 15)]


def value_at(root: bytes, key: bytes, proof: Sequence[bytes]) -> bytes:
    """What a proof shows at a key; asserts that every node is named by its parent (Yellow Paper, appendix D)."""
    nodes = list(proof)
    assert keccak256(nodes[0]) == root
    node = rlp.decode(nodes.pop(0))
    left = nibbles(key)
    while True:
        if len(node) == 17:
            child = node[left.pop(0)] if left else None
            if child is None:
                assert not nodes
                return bytes(node[16])
        else:
            path = nibbles(node[0])
            shared = path[1:] if path[0] & 1 else path[2:]
            assert left[: len(shared)] == shared
            left = left[len(shared) :]
            if path[0] & 2:
                assert not left
                assert not nodes
                return bytes(node[1])
            child = node[1]
        if isinstance(child, list):
            node = child
        else:
            assert keccak256(nodes[0]) == child
            node = rlp.decode(nodes.pop(0))


@given(VALUES, st.data())
def test_every_value_is_proven_at_its_position(values: list[bytes], data: st.DataObject) -> None:
    """The proof's nodes hang together from the root down and end at the value, without one too many."""
    position = data.draw(st.integers(0, len(values) - 1))
    found = value_at(ordered_root(values), rlp.encode(position), ordered_proof(values, position))
    assert found == values[position]


@pytest.mark.parametrize("position", [-1, 3, 10**9])
def test_there_is_no_proof_of_nothing(position: int) -> None:
    """A position without a value has none."""
    with pytest.raises(IndexError, match="of 3"):
        ordered_proof([b"a", b"b", b"c"], position)
