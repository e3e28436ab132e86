"""Batches, channels, frames, blobs and L1 attributes against published vectors and a transaction of OP Mainnet."""

import json
from pathlib import Path
from typing import Any

import pytest

from plait.codec.rlp import Reader
from plait.derivation.attributes import (
    L1BlockInfo,
    l1_attributes_data,
    l1_attributes_source_hash,
    upgrade_source_hash,
)
from plait.derivation.batches import SingularBatch
from plait.derivation.blobs import BLOB_BYTES, decode_blob, encode_blob
from plait.derivation.channel_reading import read_batches
from plait.derivation.frames import decode, encode, prune
from plait.derivation.l1_info import decode_l1_attributes_data
from plait.derivation.span_batches import SpanBuilder, decode_raw, encode_raw, expand
from plait.derivation.span_transactions import split_transaction
from plait.derivation.system_config import SystemConfig
from plait.errors import CodecError
from plait.native import Refusal, decode_transactions
from plait.types import Gas, Hash32, Seconds

DIRECTORY = Path(__file__).parent / "vectors"
VECTORS: dict[str, Any] = json.loads((DIRECTORY / "batches.json").read_text())
OP_MAINNET = 10
OP_MAINNET_GENESIS_TIME_S = Seconds(1_686_789_347)


def test_the_published_span_batch_decodes_and_encodes_to_its_own_bytes() -> None:
    data = b"\x01" + (DIRECTORY / "span_batch_raw.bin").read_bytes()
    raw = decode_raw(data)
    assert encode_raw(raw) == data
    assert len(raw.transaction_counts) == 4
    assert len(raw.datas) == 39
    span = expand(raw, genesis_time_s=Seconds(0), block_time_s=2, chain_id=OP_MAINNET)
    transactions = [one for block in span.blocks for one in block.transactions]
    assert {one[0] if one[0] < 0x80 else 0 for one in transactions} == {0, 1, 2}
    assert [split_transaction(one, OP_MAINNET).data for one in transactions] == list(raw.datas)


def test_a_batcher_transaction_of_op_mainnet_decodes_down_to_its_signed_transactions() -> None:
    fields = Reader((DIRECTORY / "batcher_transaction.bin").read_bytes(), start=1).read_list("transaction")
    data = [fields.read_bytes() for _ in range(8)][7]
    frames = decode(data)
    assert encode(frames) == data
    assert prune(frames) == list(frames)
    assert [(frame.number, len(frame.data), frame.is_last) for frame in frames] == [(0, 119_799, True)]

    (batch,) = read_batches(frames[0].data)  # its stream is flushed, not ended
    raw = decode_raw(batch)
    assert encode_raw(raw) == batch
    span = expand(raw, genesis_time_s=OP_MAINNET_GENESIS_TIME_S, block_time_s=2, chain_id=OP_MAINNET)
    assert len(span.blocks) == 27
    assert all(
        after.timestamp - before.timestamp == 2 for before, after in zip(span.blocks[:-1], span.blocks[1:], strict=True)
    )

    transactions = [one for block in span.blocks for one in block.transactions]
    assert len(transactions) == 209
    signed = decode_transactions(transactions, OP_MAINNET)
    assert not [one for one in signed if isinstance(one, Refusal)], "every one has a valid signature"

    builder = SpanBuilder(genesis_time_s=OP_MAINNET_GENESIS_TIME_S, chain_id=OP_MAINNET)
    for block in span.blocks:
        one = SingularBatch(
            parent_hash=Hash32(span.parent_check + bytes(12)),
            epoch_number=block.epoch_number,
            epoch_hash=Hash32(span.origin_check + bytes(12)),
            timestamp=block.timestamp,
            transactions=block.transactions,
        )
        builder.add(one, begins_epoch=bool(raw.origin_bits & 1))
    assert builder.encode() == batch, "built from the blocks it holds, it is the same again"


@pytest.mark.parametrize("vector", VECTORS["blobs_decoded"])
def test_a_published_blob_decodes_to_its_data_or_is_refused(vector: dict[str, Any]) -> None:
    blob = bytes.fromhex(vector["blob"]).ljust(BLOB_BYTES, b"\0")
    if vector.get("refused"):
        with pytest.raises(CodecError) as refusal:
            decode_blob(blob)
        assert refusal.value.code == "blob_malformed"
    else:
        assert decode_blob(blob) == _data(vector)


@pytest.mark.parametrize("vector", VECTORS["blobs_encoded"])
def test_data_is_encoded_to_the_published_blob_or_refused(vector: dict[str, Any]) -> None:
    if vector.get("refused"):
        with pytest.raises(CodecError) as refusal:
            encode_blob(_data(vector))
        assert refusal.value.code == "blob_malformed"
    else:
        assert encode_blob(_data(vector)) == _blob_of_published(vector)


@pytest.mark.parametrize("vector", VECTORS["l1_attributes"], ids=lambda vector: vector["layout"])
def test_l1_attributes_decode_to_the_published_fields_and_encode_again(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    found = decode_l1_attributes_data(data)
    for name, value in VECTORS["l1_attributes_fields"].items():
        assert getattr(found, name) == (bytes.fromhex(value) if isinstance(value, str) else value), name
    for name in ("layout", "operator_fee_scalar", "operator_fee_constant"):
        assert getattr(found, name) == vector[name], name
    info = L1BlockInfo(
        number=found.number,
        hash=found.hash,
        timestamp=found.timestamp,
        base_fee=found.base_fee,
        blob_base_fee=found.blob_base_fee,
        prev_randao=Hash32(bytes(32)),
        parent_beacon_block_root=Hash32(bytes(32)),
    )
    system = SystemConfig(
        batcher=found.batcher,
        gas_limit=Gas(30_000_000),
        base_fee_scalar=found.base_fee_scalar,
        blob_base_fee_scalar=found.blob_base_fee_scalar,
        eip1559_denominator=0,
        eip1559_elasticity=0,
        operator_fee_scalar=found.operator_fee_scalar,
        operator_fee_constant=found.operator_fee_constant,
    )
    assert l1_attributes_data(info, found.sequence_number, system, found.layout) == data


def test_source_hashes_are_the_published_ones() -> None:
    vector = VECTORS["source_hashes"]["l1_attributes"]
    l1_hash = Hash32(bytes.fromhex(vector["l1_hash"]))
    assert l1_attributes_source_hash(l1_hash, vector["sequence_number"]).hex() == vector["hash"]
    for upgrade in VECTORS["source_hashes"]["upgrades"]:
        assert upgrade_source_hash(upgrade["intent"]).hex() == upgrade["hash"]


def _data(vector: dict[str, Any]) -> bytes:
    return bytes(vector["zeros"]) if "zeros" in vector else bytes.fromhex(vector["data"])


def _blob_of_published(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["blob"]).ljust(BLOB_BYTES, b"\0")
