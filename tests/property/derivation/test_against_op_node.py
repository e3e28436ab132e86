"""Codecs and derivation against op-node's own code: random chains, honest batches, damaged ones, and garbage.

A seed that differs is replayed with `PLAIT_SEED=<seed> pytest tests/property/derivation/test_against_op_node.py`.
"""

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from invented_worlds import CHAIN_ID, GENESIS_TIME_S, World, signed_transactions

from plait.codec.rlp import encode_bytes
from plait.derivation.batches import SingularBatch, decode_singular, encode_singular
from plait.derivation.blobs import BLOB_BYTES, BLOB_DATA_BYTES_MAX, decode_blob, encode_blob
from plait.derivation.channel_reading import read_batches
from plait.derivation.channels import compress, cut
from plait.derivation.frames import decode, encode
from plait.derivation.span_batches import SpanBatch, decode_raw, decode_span, encode_raw, encode_span, expand
from plait.errors import CodecError
from plait.types import BlockNumber, Hash32, Seconds

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "peers" / "opstack"))

from opstack_oracle import Oracle, Refused, running

SEEDS = [int(os.environ["PLAIT_SEED"])] if "PLAIT_SEED" in os.environ else list(range(8))
CODES = ("frame_malformed", "channel_malformed", "batch_malformed", "span_transaction_malformed", "blob_malformed")
TRANSACTIONS, BAD = signed_transactions()


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with running() as found:
        yield found


def batches_of(source: Random) -> list[SingularBatch]:
    """Blocks of one rollup one after the other, on any L1."""
    timestamp, epoch = GENESIS_TIME_S + 2 * source.randrange(1_000), source.randrange(1, 2**40)
    batches = []
    for _ in range(source.randrange(1, 40)):
        timestamp += 2
        epoch += source.choice((0, 0, 1))
        batches.append(
            SingularBatch(
                parent_hash=Hash32(source.randbytes(32)),
                epoch_number=BlockNumber(epoch),
                epoch_hash=Hash32(source.randbytes(32)),
                timestamp=Seconds(timestamp),
                transactions=tuple(source.choices(TRANSACTIONS, k=source.choice((0, 1, 1, 2, 9)))),
            )
        )
    return batches


def span_of(batches: list[SingularBatch], begins_epoch: bool) -> bytes:
    return encode_span(batches, genesis_time_s=Seconds(GENESIS_TIME_S), chain_id=CHAIN_ID, begins_epoch=begins_epoch)


def as_json(batch: SingularBatch) -> dict[str, Any]:
    return {name: getattr(batch, name) for name in batch.__struct_fields__}


def told(span: SpanBatch) -> dict[str, Any]:
    """A span batch as the oracle tells it."""
    blocks = [
        {
            "epoch_number": one.epoch_number,
            "timestamp": one.timestamp,
            "transactions": ["0x" + raw.hex() for raw in one.transactions],
        }
        for one in span.blocks
    ]
    return {
        "parent_check": "0x" + span.parent_check.hex(),
        "origin_check": "0x" + span.origin_check.hex(),
        "blocks": blocks,
    }


def told_frames(data: bytes) -> list[dict[str, Any]]:
    """Frames as the oracle tells them."""
    return [
        {
            "id": "0x" + one.channel_id.hex(),
            "number": one.number,
            "data": "0x" + one.data.hex(),
            "last": one.is_last,
        }
        for one in decode(data)
    ]


def outcome(read: Callable[[], Any]) -> Any:
    """What a reader gives, or that it refuses with a code of its own, or a sentence that is no panic."""
    try:
        return read()
    except CodecError as error:
        return "refused" if error.code in CODES else error.code
    except Refused as error:
        return str(error) if "panic" in str(error) else "refused"


def their_span(oracle: Oracle, data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = oracle.call(
        "decode_span", data=data, genesis_time=GENESIS_TIME_S, block_time=2, chain_id=CHAIN_ID
    )
    for block in found["blocks"]:
        del block["parent_hash"], block["epoch_hash"]
        block["transactions"] = block["transactions"] or []
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_batches_are_encoded_as_op_node_encodes_them_and_decode_to_the_same(oracle: Oracle, seed: int) -> None:
    source = Random(seed)
    for _ in range(10):
        batches = batches_of(source)
        for batch in batches[:3]:
            assert "0x" + encode_singular(batch).hex() == oracle.call("encode_singular", batch=as_json(batch))
        begins = source.random() < 0.5
        span = span_of(batches, begins)
        theirs = oracle.call(
            "encode_span", batches=list(map(as_json, batches)), sequence_number=0 if begins else 3,
            genesis_time=GENESIS_TIME_S, chain_id=CHAIN_ID,
        )  # fmt: skip
        assert "0x" + span.hex() == theirs
        raw = decode_raw(span)
        assert encode_raw(raw) == span
        found = expand(raw, genesis_time_s=Seconds(GENESIS_TIME_S), block_time_s=2, chain_id=CHAIN_ID)
        assert [one.transactions for one in found.blocks] == [one.transactions for one in batches]
        assert told(found) == their_span(oracle, span)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_span_batch_is_refused_or_read_as_op_node_does(oracle: Oracle, seed: int) -> None:
    source = Random(seed)
    refused = 0
    for _ in range(150):
        span = span_of(batches_of(source)[:6], True)
        at = source.randrange(1, len(span))
        how = source.randrange(3)
        damaged = (
            span[:at] if how == 0
            else span[:at] + bytes((source.randrange(256),)) + span[at + 1 :] if how == 1
            else span[:at] + source.randbytes(source.randrange(1, 4)) + span[at:]
        )  # fmt: skip
        ours = outcome(
            lambda data=damaged: told(  # type: ignore[misc]
                decode_span(data, genesis_time_s=Seconds(GENESIS_TIME_S), block_time_s=2, chain_id=CHAIN_ID)
            )
        )
        theirs = outcome(lambda data=damaged: their_span(oracle, data))  # type: ignore[misc]
        assert ours == theirs, damaged.hex()
        refused += ours == "refused"
    assert 0 < refused < 150


@pytest.mark.parametrize("seed", SEEDS)
def test_a_channel_whole_or_damaged_gives_the_batches_that_op_node_reads(oracle: Oracle, seed: int) -> None:
    source = Random(seed)
    for _ in range(40):
        batches = batches_of(source)
        stream = b"".join(encode_bytes(encode_singular(one)) for one in batches) + encode_bytes(span_of(batches, True))
        compression = source.choice(("zlib", "brotli"))
        channel = compress(stream, compression)  # type: ignore[arg-type]
        how = source.randrange(5)
        if how == 4:  # as op-batcher's zlib: flushed, and not ended
            compressor = zlib.compressobj(9)
            channel = compressor.compress(stream) + compressor.flush(zlib.Z_SYNC_FLUSH)
        at = source.randrange(len(channel))
        if how == 1:
            channel = channel[:at]
        elif how == 2:
            channel = channel[:at] + bytes((channel[at] ^ 1 << source.randrange(8),)) + channel[at + 1 :]
        elif how == 3:
            channel += source.randbytes(9)
        ours, refusal = read_and_encoded(channel)
        assert refusal == "" or how in (1, 2, 3)
        try:
            theirs = oracle.call("channel", data=channel)["batches"]
        except Refused:
            theirs = []
        if how == 1 and compression == "zlib" and len(ours) == len(theirs) + 1:
            ours.pop()  # the difference that channel_reading names
        assert ours == theirs, (seed, how, compression, channel.hex())


def read_and_encoded(channel: bytes) -> tuple[list[str], str]:
    """Batches as op-node's reader gives them, decoded and encoded again, and the code that ended them."""
    found: list[str] = []
    try:
        for one in read_batches(channel):
            whole = encode_singular(decode_singular(one)) if one[:1] == b"\0" else encode_raw(decode_raw(one))
            found.append("0x" + whole.hex())
    except CodecError as error:
        return found, error.code
    return found, ""


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_and_blobs_are_read_as_op_node_reads_them(oracle: Oracle, seed: int) -> None:
    source = Random(seed)
    for _ in range(60):
        frames = cut(source.randbytes(16), source.randbytes(source.randrange(200)), source.randrange(24, 300))
        data = encode(frames)
        if source.random() < 0.6:
            at = source.randrange(len(data))
            data = data[:at] + source.randbytes(source.randrange(3)) + data[at + source.randrange(2) :]
        ours = outcome(lambda data=data: told_frames(data))  # type: ignore[misc]
        theirs = outcome(lambda data=data: oracle.call("frames", data=data))  # type: ignore[misc]
        assert ours == theirs, data.hex()
    for size in (0, 1, 27, 28, 123, 124, 127, 128, source.randrange(BLOB_DATA_BYTES_MAX), BLOB_DATA_BYTES_MAX):
        content = source.randbytes(size)
        blob = encode_blob(content)
        assert "0x" + blob.hex() == oracle.call("encode_blob", data=content)
        assert decode_blob(blob) == content
        at = source.choice((source.randrange(BLOB_BYTES), source.randrange(160), 32 * source.randrange(4_096)))
        blob = blob[:at] + bytes((source.randrange(256),)) + blob[at + 1 :]
        ours = outcome(lambda blob=blob: "0x" + decode_blob(blob).hex())  # type: ignore[misc]
        theirs = outcome(lambda blob=blob: oracle.call("decode_blob", data=blob))  # type: ignore[misc]
        assert ours == theirs, (seed, size, at, blob[at])


@pytest.mark.parametrize("seed", SEEDS)
def test_our_channels_are_no_larger_than_op_batchers(oracle: Oracle, seed: int) -> None:
    source = Random(seed)
    stream = encode_bytes(span_of(batches_of(source), True))
    for compression, algorithm in (("zlib", "zlib"), ("brotli", "brotli-10")):
        ours = len(compress(stream, compression))  # type: ignore[arg-type]
        assert ours <= 1.03 * oracle.call("compressed_size", data=stream, algorithm=algorithm)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_blocks_are_derived_from_any_l1(oracle: Oracle, seed: int) -> None:
    world = World(Random(seed), TRANSACTIONS, BAD)
    for _ in range(40):
        world.step()
    ours = [
        {
            "timestamp": block.timestamp, "hash": "0x" + found.hex(), "gas_limit": block.system.gas_limit,
            "derived_from": block.inclusion_number, "deposits_only": replaced,
        }
        for block, found, replaced in world.blocks
    ]  # fmt: skip
    theirs = oracle.call("derive", **world.question())
    for block in theirs:
        del block["transactions"]  # the hash is made of them
    differing = next((at for at, both in enumerate(zip(ours, theirs, strict=False)) if both[0] != both[1]), None)
    assert differing is None, f"seed {seed}: block {differing}: {ours[differing]}, op-node: {theirs[differing]}"
    assert len(ours) == len(theirs)
    assert ours or seed >= 8, "the seeds of every day derive something"
