"""Proposals of any content: one encoding each, and whatever bytes are accepted are that encoding."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.crypto.commitments import SubBlockCommitment
from plait.errors import CodecError
from plait.protocol.proposal import (
    STAMP_MS_MAX,
    Proposal,
    SubBlockHeader,
    decode_header,
    decode_proposal,
    encode_entry,
    encode_header,
    encode_items,
    encode_proposal,
    split_items,
)
from plait.types import L1Origin

hashes = st.binary(min_size=32, max_size=32)
uint63 = st.integers(0, 2**63 - 1)
ids = st.integers(1, 2**64 - 1)
seals = st.lists(st.tuples(st.integers(0, 2**64 - 1), hashes), min_size=1, max_size=4).map(tuple)
headers = st.builds(
    SubBlockHeader,
    network_id=ids,
    height=uint63,
    slot=uint63,
    sub_index=uint63,
    time_ms=uint63,
    parent_app_hash=hashes,
    l1_origin=st.builds(L1Origin, number=st.integers(0, 2**64 - 1), hash=hashes),
    commitment=st.builds(
        lambda roots, rollups_root, ids_root: SubBlockCommitment(
            ids=tuple(sorted(roots)),
            items_roots=tuple(roots[rollup_id] for rollup_id in sorted(roots)),
            rollups_root=rollups_root,
            ids_root=ids_root,
        ),
        st.dictionaries(ids, hashes, max_size=4),
        hashes,
        hashes,
    ),
    sealed=st.dictionaries(ids, seals, max_size=3).map(lambda found: tuple(sorted(found.items()))),
    ledger_root=hashes,
)
items = st.lists(st.one_of(st.binary(max_size=70), st.binary(min_size=250, max_size=320)), min_size=1, max_size=5)
blocks = st.dictionaries(ids, items, max_size=3).map(lambda found: tuple(sorted(found.items())))


@given(headers, blocks, st.lists(st.binary(max_size=80), max_size=4).map(tuple))
def test_any_proposal_survives_the_round_trip(
    header: SubBlockHeader, content: tuple[tuple[int, list[bytes]], ...], actions: tuple[bytes, ...]
) -> None:
    encoded = encode_header(header)
    assert decode_header(encoded) == header
    assert decode_proposal(encode_proposal(encoded, content, (), actions)) == Proposal(header, content, (), actions)


@settings(max_examples=400)
@given(headers, blocks, st.data())
def test_bytes_with_a_change_are_refused_or_another_proposals_only_encoding(
    header: SubBlockHeader, content: tuple[tuple[int, list[bytes]], ...], data: st.DataObject
) -> None:
    original = encode_proposal(encode_header(header), content)
    changed = bytearray(original)
    kind = data.draw(st.sampled_from(["flip", "insert", "delete"]))
    place = data.draw(st.integers(0, len(original) - 1))
    if kind == "flip":
        changed[place] ^= data.draw(st.integers(1, 255))
    elif kind == "insert":
        changed.insert(place, data.draw(st.integers(0, 255)))
    else:
        del changed[place]
    try:
        found = decode_proposal(bytes(changed))
    except CodecError:
        return
    entries = [encode_entry(entry.stamp_ms, entry.terms_bytes) for entry in found.bundles]
    assert encode_proposal(encode_header(found.header), found.blocks, entries, found.actions) == bytes(changed)
    assert found != Proposal(header, content)


@given(st.lists(st.tuples(st.integers(0, STAMP_MS_MAX), st.binary(max_size=60)), max_size=20))
def test_items_give_back_their_columns(rows: list[tuple[int, bytes]]) -> None:
    stamps, raws = [stamp for stamp, _ in rows], [raw for _, raw in rows]
    assert split_items(encode_items(raws, stamps)) == (stamps, raws)  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_items_are_of_kind_0_or_refused(found: list[bytes]) -> None:
    known = all(len(item) >= 7 and item[0] == 0 for item in found)
    if known:
        split_items(found)
        return
    with pytest.raises(CodecError) as refusal:
        split_items(found)
    assert refusal.value.code == "item_kind_unknown"
