"""Decoders of derivation on any bytes: a value or a CodecError with a documented code, in bounded time and memory."""

import itertools
import time
import tracemalloc
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_worlds import CHAIN_ID, GENESIS_TIME_S, World, signed_transactions

from plait.codec.rlp import encode_bytes
from plait.derivation.batches import SingularBatch, decode_singular, encode_singular
from plait.derivation.blobs import BLOB_BYTES, BLOB_DATA_BYTES_MAX, decode_blob, encode_blob
from plait.derivation.channel_reading import read_batches
from plait.derivation.channels import ChannelAssembler, ChannelBuilder, compress, cut
from plait.derivation.frames import Frame, decode, encode, prune
from plait.derivation.l1_info import DATA_BYTES, decode_l1_attributes, decode_l1_attributes_data
from plait.derivation.span_batches import decode_raw, decode_span, encode_raw
from plait.derivation.span_transactions import join_transaction, split_transaction
from plait.errors import CodecError
from plait.native import keccak256
from plait.types import BlockNumber, Hash32, Seconds

CODES = {
    "frame_malformed",
    "channel_malformed",
    "batch_malformed",
    "span_transaction_malformed",
    "blob_malformed",
    "l1_attributes_malformed",
}
TRANSACTIONS, BAD = signed_transactions()


def signed_otherwise(number: int) -> bytes:
    """A transaction with a signature of its own, which does not compress."""
    parts = split_transaction(TRANSACTIONS[number % 20], CHAIN_ID)
    r, s = (b"\x01" + keccak256(b"%d %d" % (number, at))[1:] for at in range(2))
    return join_transaction(parts._replace(r=r, s=s), CHAIN_ID)


def span(data: bytes) -> object:
    return decode_span(data, genesis_time_s=Seconds(GENESIS_TIME_S), block_time_s=2, chain_id=CHAIN_ID)


DECODERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (decode, b"\0"),
    (lambda data: list(read_batches(data)), b""),
    (lambda data: list(read_batches(data)), b"\x78\xda"),
    (lambda data: list(read_batches(data)), b"\x01"),
    (decode_singular, b"\0"),
    (span, b"\x01"),
    (decode_blob, b""),
    (decode_l1_attributes, b"\x7e"),
    (decode_l1_attributes_data, bytes.fromhex("3db6be2b")),
]


@pytest.mark.parametrize("at", range(len(DECODERS)))
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=400))
def test_a_decoder_reads_or_refuses_with_its_code(at: int, data: bytes) -> None:
    decoder, prefix = DECODERS[at]
    for given_bytes in (data, prefix + data):
        try:
            decoder(given_bytes)
        except CodecError as error:
            assert error.code in CODES  # noqa: PT017 - whether it raises is open


@given(frames=st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 5), st.booleans()), max_size=12))
@settings(max_examples=200, deadline=None)
def test_pruned_frames_are_in_order_and_a_channel_comes_out_only_whole(frames: list[tuple[bytes, int, bool]]) -> None:
    ids = [bytes(15) + bytes((frame[0][0] % 2,)) for frame in frames]
    made = [Frame(id_, number, b"x", last) for id_, (_, number, last) in zip(ids, frames, strict=True)]
    kept = prune(made)
    for before, after in itertools.pairwise(kept):
        if before.channel_id == after.channel_id:
            assert not before.is_last
            assert after.number == before.number + 1
        else:
            assert before.is_last
            assert after.number == 0
    assert prune(kept) == kept
    if kept:
        assert decode(encode(kept)) == tuple(kept)
    assembler = ChannelAssembler()
    for frame in kept:
        try:
            channel = assembler.add(frame, BlockNumber(1))
        except CodecError as error:
            assert error.code == "channel_out_of_order"  # noqa: PT017
        else:
            assert (channel is not None) == frame.is_last
            assert channel is None or channel == b"x" * (frame.number + 1)


@given(data=st.binary(max_size=2_000), size=st.integers(24, 300))
@settings(max_examples=100, deadline=None)
def test_what_is_cut_into_frames_comes_together_again(data: bytes, size: int) -> None:
    assembler = ChannelAssembler()
    frames = cut(bytes(16), data, size)
    channels = [assembler.add(frame, BlockNumber(at)) for at, frame in enumerate(frames)]
    assert channels[:-1] == [None] * (len(frames) - 1)
    assert channels[-1] == data
    assert all(len(encode([frame])) - 1 <= size for frame in frames)


def test_a_channel_is_open_for_fifty_l1_blocks() -> None:
    for last, whole in ((150, True), (151, False)):
        assembler = ChannelAssembler()
        assert assembler.add(Frame(bytes(16), 0, b"a", False), BlockNumber(100)) is None
        assert assembler.expire(BlockNumber(last)) is not whole
        if whole:
            assert assembler.add(Frame(bytes(16), 1, b"b", True), BlockNumber(last)) == b"ab"


@pytest.mark.parametrize("compression", ["zlib", "brotli"])
def test_a_bomb_costs_neither_time_nor_memory(compression: Any) -> None:
    beyond = b"\xbb\x05\xf5\xe1\x00"  # a string of exactly 100,000,000 bytes: with its header more than the bound
    cut_off = b"\xbb\x05\xf5\xe0\xfc"  # as long as may be, of which 30,000,000 bytes are there
    for header in (beyond, cut_off):
        stream = header + bytes(30_000_000)
        bomb = zlib.compress(stream, 1) if compression == "zlib" else b"\x01" + brotli.compress(stream, quality=1)
        del stream
        tracemalloc.start()
        began = time.process_time()
        with pytest.raises(CodecError) as refusal:
            list(read_batches(bomb))
        seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert refusal.value.code == "channel_malformed"
        assert seconds < 5
        assert peak < (3 * 30_000_000 if header == cut_off else 1_000_000)


@given(data=st.binary(max_size=3_000))
@settings(max_examples=100, deadline=None)
def test_blobs_carry_their_data(data: bytes) -> None:
    blob = encode_blob(data)
    assert len(blob) == BLOB_BYTES
    assert decode_blob(blob) == data
    assert not any(byte & 0xC0 for byte in blob[::32]), "every element is below the field's order"


def test_a_full_blob_and_one_byte_more() -> None:
    data = bytes(range(256)) * 508
    assert decode_blob(encode_blob(data[:BLOB_DATA_BYTES_MAX])) == data[:BLOB_DATA_BYTES_MAX]
    with pytest.raises(CodecError):
        encode_blob(bytes(BLOB_DATA_BYTES_MAX + 1))


def test_l1_attributes_of_a_wrong_length_are_refused() -> None:
    for size in DATA_BYTES.values():
        for wrong in (size - 1, size + 1):
            with pytest.raises(CodecError):
                decode_l1_attributes_data(bytes.fromhex("3db6be2b").ljust(wrong, b"\0"))


@pytest.mark.parametrize("kind", ["singular", "span"])
@pytest.mark.parametrize("compression", ["zlib", "brotli"])
def test_a_full_channel_keeps_its_bound_and_holds_the_blocks_it_took(kind: Any, compression: Any) -> None:
    builder = ChannelBuilder(
        channel_id=bytes(16),
        chain_id=CHAIN_ID,
        genesis_time_s=Seconds(GENESIS_TIME_S),
        target_bytes=3_000,
        kind=kind,
        compression=compression,
    )
    taken: list[SingularBatch] = []
    for number in range(1, 2_000):
        batch = SingularBatch(
            parent_hash=Hash32(number.to_bytes(32, "big")),
            epoch_number=BlockNumber(number // 6),
            epoch_hash=Hash32(number.to_bytes(32, "little")),
            timestamp=Seconds(GENESIS_TIME_S + 2 * number),
            transactions=(signed_otherwise(number),),
        )
        if not builder.add(batch, number % 6):
            break
        taken.append(batch)
    assert builder.full
    assert not builder.add(taken[0], 0)
    channel = builder.close()
    assert 0.9 * 3_000 < len(channel) <= 3_000
    assert builder.block_count == builder.transaction_count == len(taken)
    batches = list(read_batches(channel))
    if kind == "singular":
        assert list(map(decode_singular, batches)) == taken
    else:
        (one,) = batches
        assert encode_raw(decode_raw(one)) == one
        found = decode_span(one, genesis_time_s=Seconds(GENESIS_TIME_S), block_time_s=2, chain_id=CHAIN_ID)
        assert [block.transactions for block in found.blocks] == [batch.transactions for batch in taken]
        assert [block.epoch_number for block in found.blocks] == [batch.epoch_number for batch in taken]


def test_a_block_that_alone_is_too_large_has_a_channel_of_its_own() -> None:
    builder = ChannelBuilder(
        channel_id=bytes(16), chain_id=CHAIN_ID, genesis_time_s=Seconds(GENESIS_TIME_S), target_bytes=300
    )
    batch = SingularBatch(
        parent_hash=Hash32(bytes(32)),
        epoch_number=BlockNumber(1),
        epoch_hash=Hash32(bytes(32)),
        timestamp=Seconds(GENESIS_TIME_S + 2),
        transactions=tuple(TRANSACTIONS),
    )
    assert builder.add(batch, 0)
    assert builder.full
    assert len(builder.close()) > 300
    stream = encode_bytes(encode_singular(batch))
    assert list(read_batches(compress(stream, "zlib"))) == [encode_singular(batch)]


def test_a_world_comes_out_of_its_seed() -> None:
    worlds = [World(Random(3), TRANSACTIONS, BAD) for _ in range(2)]
    for world in worlds:
        for _ in range(10):
            world.step()
    assert worlds[0].question() == worlds[1].question()
