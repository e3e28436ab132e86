"""Every field matters: whatever is changed in a valid proposal, it is refused, and its hash is another one."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import CodecError
from plait.protocol.proposal import (
    decode_header,
    decode_proposal,
    encode_header,
    encode_proposal,
    header_hash_of,
    proposal_hash_of,
)
from plait.protocol.requests import Refused
from sim.situation import Situation, at_slot_4


@lru_cache(maxsize=1)
def situation() -> Situation:
    return at_slot_4()


def leaves(tree: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Paths of all strings of an RLP tree."""
    if isinstance(tree, bytes):
        yield path
        return
    for place, child in enumerate(tree):
        yield from leaves(child, (*path, place))


def changed(path: tuple[int, ...], change: Any) -> bytes:
    """The honest proposal with the string at `path` changed, encoded canonically again."""
    tree = rlp.decode(situation().honest)
    parent = tree
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = change(parent[path[-1]])
    return bytes(rlp.encode(tree))


def flip_first(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:] if value else b"\x01"


def flip_last(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 0x80]) if value else b"\x01"


@lru_cache(maxsize=1)
def paths() -> list[tuple[int, ...]]:
    return list(leaves(rlp.decode(situation().honest)))


def test_a_proposal_has_the_fields_that_are_flipped() -> None:
    """Twelve plain fields, two of the origin, two ids with roots, two sealed blocks, two blocks of six items."""
    assert len(paths()) == 12 + 2 + 2 * 2 + 2 * 3 + 2 * 7


@pytest.mark.parametrize("change", [flip_first, flip_last, lambda v: v + b"\x01", lambda v: v[:-1], lambda v: b""])
def test_each_field_flipped_grown_cut_or_emptied_is_refused(change: Any) -> None:
    honest = situation().honest
    for path in paths():
        forged = changed(path, change)
        if forged == honest:
            continue
        verdict = situation().verdict(forged)
        assert isinstance(verdict, Refused), f"field {path} changed and accepted"
        assert proposal_hash_of(forged) != proposal_hash_of(honest)


def test_each_header_field_reaches_the_header_hash() -> None:
    """What a certificate signs depends on every field of the header, and through the roots on every item."""
    header = encode_header(decode_proposal(situation().honest).header)
    for path in leaves(rlp.decode(header)):
        tree = rlp.decode(header)
        parent = tree
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = flip_last(parent[path[-1]])
        assert header_hash_of(rlp.encode(tree)) != header_hash_of(header)


def test_two_neighbouring_entries_of_any_list_exchanged_are_refused() -> None:
    honest = rlp.decode(situation().honest)

    def lists(tree: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
        if isinstance(tree, list):
            yield path
            for place, child in enumerate(tree):
                yield from lists(child, (*path, place))

    for path in lists(honest):
        tree = rlp.decode(situation().honest)
        parent = tree
        for step in path:
            parent = parent[step]
        for place in range(len(parent) - 1):
            if parent[place] == parent[place + 1]:
                continue
            parent[place], parent[place + 1] = parent[place + 1], parent[place]
            verdict = situation().verdict(rlp.encode(tree))
            assert isinstance(verdict, Refused), f"entries {place} of list {path} exchanged and accepted"
            parent[place], parent[place + 1] = parent[place + 1], parent[place]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_byte_changed_is_refused(data: st.DataObject) -> None:
    honest = situation().honest
    forged = bytearray(honest)
    forged[data.draw(st.integers(0, len(honest) - 1))] ^= data.draw(st.integers(1, 255))
    assert isinstance(situation().verdict(bytes(forged)), Refused)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=500))
def test_garbage_is_a_codec_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_proposal(data)


def test_the_proposal_and_its_header_survive_the_round_trip() -> None:
    honest = situation().honest
    header, blocks, *_ = decode_proposal(honest)
    encoded = encode_header(header)
    assert decode_header(encoded) == header
    assert encode_proposal(encoded, blocks) == honest
    assert rlp.encode(rlp.decode(honest)) == honest
