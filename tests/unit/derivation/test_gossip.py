"""Gossip of unsafe blocks: what is encoded decodes to the same, and bytes of strangers are refused in words."""

import contextlib

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.derivation.execution_payload import (
    ExecutionPayload,
    PayloadEnvelope,
    decode_envelope_ssz,
    encode_envelope_ssz,
    envelope_from_json,
    payload_json,
)
from plait.derivation.gossip import blocks_topic, decode_message, encode_message, message_id
from plait.errors import CodecError
from plait.limits import GOSSIP_MESSAGE_BYTES_MAX
from plait.native import keccak256, sign_digest
from plait.types import ChainId

CHAIN = ChainId(901)
KEY = keccak256(b"a sequencer of a test")

hashes = st.binary(min_size=32, max_size=32)
uint64 = st.integers(0, 2**64 - 1)


@st.composite
def envelopes(draw: st.DrawFn) -> PayloadEnvelope:
    version = draw(st.integers(1, 4))
    payload = ExecutionPayload(
        parent_hash=draw(hashes),  # type: ignore[arg-type]  # any 32 bytes are a hash here
        fee_recipient=draw(st.binary(min_size=20, max_size=20)),  # type: ignore[arg-type]
        state_root=draw(hashes),  # type: ignore[arg-type]
        receipts_root=draw(hashes),  # type: ignore[arg-type]
        logs_bloom=draw(st.binary(min_size=256, max_size=256)),
        prev_randao=draw(hashes),  # type: ignore[arg-type]
        block_number=draw(uint64),  # type: ignore[arg-type]
        gas_limit=draw(uint64),  # type: ignore[arg-type]
        gas_used=draw(uint64),  # type: ignore[arg-type]
        timestamp=draw(uint64),  # type: ignore[arg-type]
        extra_data=draw(st.binary(max_size=32)),
        base_fee_per_gas=draw(st.integers(0, 2**256 - 1)),  # type: ignore[arg-type]
        block_hash=draw(hashes),  # type: ignore[arg-type]
        transactions=tuple(draw(st.lists(st.binary(max_size=40), max_size=5))),
        withdrawals=() if version >= 2 else None,
        blob_gas_used=draw(uint64) if version >= 3 else None,  # type: ignore[arg-type]
        excess_blob_gas=draw(uint64) if version >= 3 else None,  # type: ignore[arg-type]
        withdrawals_root=draw(hashes) if version >= 4 else None,  # type: ignore[arg-type]
    )
    return PayloadEnvelope(
        payload=payload,
        parent_beacon_block_root=draw(hashes) if version >= 3 else None,  # type: ignore[arg-type]
    )


def sign(digest: bytes) -> bytes:
    return sign_digest(KEY, digest)


@given(envelopes())
def test_a_signed_block_comes_back_whole_with_its_signer(envelope: PayloadEnvelope) -> None:
    message = encode_message(envelope, CHAIN, sign)
    signed = decode_message(message, CHAIN, envelope.payload.version)
    assert signed.envelope == envelope
    other = decode_message(message, ChainId(902), envelope.payload.version)
    assert signed.signer != other.signer, "a signature of one chain must not hold on another"


@given(envelopes())
def test_the_json_of_a_payload_reads_back_as_the_same(envelope: PayloadEnvelope) -> None:
    shown = {"executionPayload": payload_json(envelope.payload)}
    if envelope.parent_beacon_block_root is not None:
        shown["parentBeaconBlockRoot"] = "0x" + envelope.parent_beacon_block_root.hex()  # type: ignore[assignment]
    assert envelope_from_json(shown) == envelope


@given(envelopes(), st.data())
def test_damaged_bytes_are_refused_or_are_the_encoding_of_something_else(
    envelope: PayloadEnvelope, data: st.DataObject
) -> None:
    ssz = bytearray(encode_envelope_ssz(envelope))
    at = data.draw(st.integers(0, len(ssz) - 1))
    ssz[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CodecError):
        other = decode_envelope_ssz(bytes(ssz), envelope.payload.version)
        assert encode_envelope_ssz(other) == bytes(ssz), "two encodings of one payload"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff" * 20,
        b"\x80\x80\x80\x80\x80\x80",
        bytes(cramjam.snappy.compress_raw(bytes(65))),
        bytes(cramjam.snappy.compress_raw(bytes(700))),
        bytes(cramjam.snappy.compress_raw(b"\1" * 700)),
    ],
    ids=["empty", "no snappy", "endless length", "no payload", "no signature", "no payload behind a signature"],
)
def test_what_is_no_message_is_refused_with_its_code(message: bytes) -> None:
    with pytest.raises(CodecError) as refused:
        decode_message(message, CHAIN, 4)
    assert refused.value.code in {"gossip_malformed", "payload_malformed"}


def test_a_message_that_claims_to_be_huge_is_refused_before_it_is_unpacked() -> None:
    length, claim = GOSSIP_MESSAGE_BYTES_MAX + 1, b""
    while length >= 0x80:
        claim, length = claim + bytes([length & 0x7F | 0x80]), length >> 7
    with pytest.raises(CodecError, match="snappy block of at most"):
        decode_message(claim + bytes([length]) + b"\xfe\x00\x00" * 10, CHAIN, 4)


def test_quantities_and_data_in_json_have_one_form() -> None:
    for name, value in (("blockNumber", "0x1_0"), ("blockNumber", 16), ("parentHash", "0x 11"), ("transactions", {})):
        with pytest.raises(CodecError, match=name):
            envelope_from_json({"executionPayload": _json() | {name: value}})


def _json() -> dict[str, object]:
    zero = "0x" + "00" * 32
    names = ("parentHash", "stateRoot", "receiptsRoot", "prevRandao", "blockHash")
    return {
        **dict.fromkeys(names, zero),
        **dict.fromkeys(("blockNumber", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas"), "0x0"),
        "feeRecipient": "0x" + "00" * 20,
        "logsBloom": "0x" + "00" * 256,
        "extraData": "0x",
        "transactions": [],
    }


def test_messages_are_told_apart_by_topic_and_content() -> None:
    topic, other = blocks_topic(CHAIN, 4), blocks_topic(CHAIN, 3)
    assert topic == "/optimism/901/3/blocks"
    message = bytes(cramjam.snappy.compress_raw(b"content"))
    seen = {message_id(topic, message), message_id(other, message), message_id(topic, b"\xff\xff")}
    assert len(seen) == 3
    assert all(len(identity) == 20 for identity in seen)
