"""Batches have one encoding each: what decodes encodes to the same bytes, and nothing else decodes, whatever it is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.codec.batch import (
    Batch,
    BundleEntry,
    Cancellation,
    LabelCancellation,
    LabelRequest,
    decode_batch,
    encode_batch,
)
from plait.codec.bundle import bundle_hash_of, encode_terms, terms_of
from plait.codec.rlp import EMPTY_LIST, encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.errors import CodecError
from plait.limits import BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BUNDLE_UUID_CHARACTERS_MAX
from plait.types import BlockNumber as Number
from plait.types import Bundle, FeeBid, Hash32, Height, Leg, Pin, RollupId, Slot, Wei

SEED = 20_261_121
RAWS = st.binary(max_size=80)
IDS = st.integers(1, 2**64 - 1).map(RollupId)
SIGNATURES = st.binary(min_size=65, max_size=65)
HASHES = st.binary(min_size=32, max_size=32).map(Hash32)
REQUESTS = st.builds(
    LabelRequest,
    label=st.text(max_size=BUNDLE_UUID_CHARACTERS_MAX),
    body=st.binary(max_size=100),
    signature=SIGNATURES,
)


@st.composite
def bundles(draw: st.DrawFn) -> BundleEntry:
    ids = sorted(draw(st.sets(IDS, min_size=1, max_size=3)))
    bundle = Bundle(
        legs=tuple(
            Leg(rollup_id=i, transactions=tuple(draw(st.lists(RAWS, min_size=1, max_size=3))), allowed_reverts=())
            for i in ids
        ),
        not_before_slot=Slot(draw(st.integers(0, 5))),
        deadline_slot=Slot(draw(st.integers(5, 2**40))),
        fee_bid=draw(st.none() | st.builds(FeeBid, rollup_id=IDS, amount=st.integers(1, 2**255).map(Wei))),
        delivery_required=draw(st.booleans()),
        pins=tuple(Pin(rollup_id=i, block_number=Number(7), log_index=0) for i in ids[: draw(st.integers(0, 2))]),
    )
    return BundleEntry(
        bundle=bundle,
        hash=bundle_hash_of(encode_terms(terms_of(bundle))),
        signature=draw(st.none() | SIGNATURES),
        replaces=draw(st.none() | HASHES),
        request=draw(st.none() | REQUESTS),
    )


GROUPS = st.dictionaries(IDS, st.lists(RAWS, min_size=1, max_size=5).map(tuple), max_size=3)
BATCHES = st.builds(
    Batch,
    height=st.integers(0, 2**64 - 1).map(Height),
    transactions=GROUPS.map(lambda groups: tuple(sorted(groups.items()))),
    bundles=st.lists(bundles(), max_size=2).map(tuple),
    cancellations=st.lists(
        st.builds(Cancellation, bundle_hash=HASHES, signature=SIGNATURES)
        | st.builds(LabelCancellation, rollup_id=IDS, request=REQUESTS),
        max_size=3,
    ).map(tuple),
    actions=st.lists(RAWS, max_size=3).map(tuple),
).filter(lambda batch: batch.entries > 0)


@given(BATCHES)
def test_a_batch_comes_back_as_it_was(batch: Batch) -> None:
    data = encode_batch(batch)
    assert decode_batch(data) == batch
    assert encode_batch(decode_batch(data)) == data


@given(BATCHES, st.data())
def test_altered_bytes_are_refused_or_are_the_one_encoding_of_another_batch(batch: Batch, data: st.DataObject) -> None:
    raw = bytearray(encode_batch(batch))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        choice = data.draw(st.integers(0, 2))
        if choice == 0:
            raw[place] = data.draw(st.integers(0, 255))
        elif choice == 1 and len(raw) > 1:
            del raw[place]
        else:
            raw.insert(place, data.draw(st.integers(0, 255)))
    try:
        found = decode_batch(bytes(raw))
    except CodecError:
        return
    assert encode_batch(found) == bytes(raw)


@given(st.binary(max_size=200))
def test_random_bytes_never_do_more_than_be_refused(raw: bytes) -> None:
    try:
        found = decode_batch(raw)
    except CodecError:
        return
    assert encode_batch(found) == raw


def batch_of(*columns: bytes, version: int = 1) -> bytes:
    """A batch whose last columns are empty."""
    empty = [EMPTY_LIST] * (4 - len(columns))
    return encode_list((encode_uint(version), encode_uint(7), *columns, *empty))


def group(rollup_id: int, *raws: bytes) -> bytes:
    return encode_list((encode_uint(rollup_id), encode_bytes_list(raws)))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "codec_invalid"),
        (b"\xc0", "codec_invalid"),
        (batch_of(), "batch_empty"),
        (batch_of(encode_list([group(1)])), "batch_empty"),
        (batch_of(encode_list([group(1, b"a")]), version=2), "codec_version_unknown"),
        (batch_of(encode_list([group(2, b"a"), group(1, b"b")])), "batch_unsorted"),
        (batch_of(encode_list([group(1, b"a"), group(1, b"b")])), "batch_unsorted"),
        (batch_of(encode_list([group(1, *[b"a"] * (BATCH_ENTRIES_MAX + 1))])), "codec_too_many"),
        (batch_of(encode_list([group(1, *[b"a"] * BATCH_ENTRIES_MAX), group(2, b"a")])), "codec_too_many"),
        (batch_of(EMPTY_LIST, encode_list([EMPTY_LIST] * 2)), "codec_invalid"),
        (batch_of(encode_list([group(1, b"a")])) + b"\0", "codec_invalid"),
        (batch_of(encode_list([group(1, bytes(131_073))])), "codec_invalid"),
        (bytes(BATCH_BYTES_MAX + 1), "batch_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_no_batch_has_a_code(data: bytes, code: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode_batch(data)
    assert caught.value.code == code


def test_legs_that_the_terms_do_not_name_are_refused() -> None:
    bundle = Bundle(
        legs=(Leg(rollup_id=RollupId(1), transactions=(b"a",)),), not_before_slot=Slot(0), deadline_slot=Slot(1)
    )
    terms = encode_bytes(encode_terms(terms_of(bundle)))
    for legs in ([encode_bytes_list([b"b"])], [], [encode_bytes_list([b"a"])] * 2):
        entry = encode_list((terms, encode_bytes_list(legs), encode_bytes(b""), encode_bytes(b""), EMPTY_LIST))
        with pytest.raises(CodecError) as caught:
            decode_batch(batch_of(EMPTY_LIST, encode_list([entry])))
        assert caught.value.code == "batch_bundle_mismatch"


def test_a_long_flood_of_random_batches_of_all_lengths_is_refused() -> None:
    source = random.Random(SEED)
    for _ in range(3_000):
        raw = source.randbytes(source.randrange(1, 300))
        framed = encode_list([raw]) if source.random() < 0.5 else batch_of(encode_list([raw]))
        try:
            found = decode_batch(framed)
        except CodecError:
            continue
        assert encode_batch(found) == framed, f"seed {SEED}"
