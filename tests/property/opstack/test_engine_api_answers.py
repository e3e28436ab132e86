"""Whatever an engine answers is either what the Engine API says, or refused with one code; payloads keep their hash."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration" / "engine"))
from driven_chain import Chain

from plait.crypto.ordered_trie import EMPTY_ROOT, ordered_root
from plait.derivation.execution_payload import payload_json
from plait.errors import CodecError
from plait.native import keccak256
from plait.rollups.opstack.attributes_json import attributes_json, attributes_of
from plait.rollups.opstack.blocks import NativeBlocks, envelope_of
from plait.rollups.opstack.engine_answers import (
    EngineRefused,
    read_block,
    read_built,
    read_forkchoice,
    read_payload_status,
    refusal,
)
from plait.rollups.opstack.importing import decode_anchor
from plait.rollups.opstack.payload import first_difference, header_rlp, read_payload
from plait.types import BlockNumber

WORDS = ["0x", "0x1", "VALID", "0x" + "ab" * 32]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["status", "latestValidHash", "validationError", "payloadStatus", "payloadId", "number", "hash",
             "parentHash", "timestamp", "extraData", "code", "message", "data", "err", "executionPayload", "blockHash",
             "parentBeaconBlockRoot"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@given(anything)
def test_answers_are_read_or_refused_with_one_code(value: Any) -> None:
    codes = set()
    for read in (read_payload_status, read_forkchoice, read_block, lambda item: read_built(json.dumps(item).encode())):
        try:
            read(value)
        except CodecError as error:
            codes.add(error.code)
    assert codes <= {"engine_answer_malformed"}
    assert isinstance(refusal("m", value), EngineRefused | CodecError)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_payload_or_anchor_are_refused(data: bytes) -> None:
    for read in (read_built, decode_anchor, lambda item: read_payload(item, bytes(32))):
        with pytest.raises(CodecError):
            read(data)


def sealed(fork: str) -> Chain:
    chain = Chain(fork=fork)  # type: ignore[arg-type]
    for number in range(1, 5):
        chain.seal(transactions=number * 7, deposits=number)
    return chain


@pytest.mark.parametrize("fork", ["holocene", "isthmus", "jovian"])
def test_the_native_cores_payloads_are_read_written_and_hashed_as_they_are(fork: str) -> None:
    chain = sealed(fork)
    blocks = NativeBlocks(chain.rollup)
    for number in range(1, 5):
        envelope = envelope_of(blocks, BlockNumber(number))
        assert envelope is not None
        assert keccak256(header_rlp(envelope)) == envelope.payload.block_hash == blocks.hash_of(BlockNumber(number))
        assert header_rlp(envelope) == chain.rollup.raw_header(number)
        found = blocks.payload(BlockNumber(number))
        assert found is not None
        assert payload_json(envelope.payload) == json.loads(found[0])
        shown = json.loads(attributes_json(attributes_of(envelope), fork))  # type: ignore[arg-type]
        assert [bytes.fromhex(raw[2:]) for raw in shown["transactions"]] == list(envelope.payload.transactions)
    assert blocks.payload(BlockNumber(0)) is None
    assert blocks.payload(BlockNumber(5)) is None
    assert blocks.hash_of(BlockNumber(5)) is None


@given(st.sampled_from(["gas_used", "state_root", "timestamp", "base_fee_per_gas", "transactions", "blob_gas_used"]))
def test_a_payload_whose_fields_were_changed_is_refused_and_the_first_changed_field_named(name: str) -> None:
    chain = CHAIN
    envelope = envelope_of(NativeBlocks(chain.rollup), BlockNumber(2))
    assert envelope is not None
    value = getattr(envelope.payload, name)
    other = value + 1 if isinstance(value, int) else value[:-1] if isinstance(value, tuple) else bytes(32)
    changed = msgspec.structs.replace(envelope.payload, **{name: other})
    with pytest.raises(CodecError) as caught:
        read_payload(json.dumps(payload_json(changed)).encode(), envelope.parent_beacon_block_root or b"")
    assert caught.value.code == "payload_hash_wrong"
    shown = {
        "gas_used": "gasUsed", "state_root": "stateRoot", "base_fee_per_gas": "baseFeePerGas",
        "transactions": "transactionsRoot", "blob_gas_used": "blobGasUsed",
    }  # fmt: skip
    different = msgspec.structs.replace(envelope, payload=changed)
    assert first_difference(envelope, different) == shown.get(name, name)
    assert first_difference(envelope, envelope) is None


CHAIN = sealed("jovian")


# ---------------------------------------------------------------- ordered trie
def plain_root(entries: dict[tuple[int, ...], bytes]) -> bytes:
    """Yellow Paper, appendix D, word by word: another way to the same root."""
    node = plain_node(entries, 0)
    return keccak256(rlp.encode(node))


def hex_prefix(nibbles: tuple[int, ...], leaf: bool) -> bytes:
    flag = (2 if leaf else 0) + len(nibbles) % 2
    whole = [flag, *nibbles] if len(nibbles) % 2 else [flag, 0, *nibbles]
    return bytes(16 * high + low for high, low in zip(whole[::2], whole[1::2], strict=True))


def plain_node(entries: dict[tuple[int, ...], bytes], depth: int) -> Any:
    if len(entries) == 1:
        [(key, value)] = entries.items()
        return [hex_prefix(key[depth:], True), value]
    keys = list(entries)
    shared = max(j for j in range(depth, min(map(len, keys)) + 1) if len({key[:j] for key in keys}) == 1)
    if shared > depth:
        return [hex_prefix(keys[0][depth:shared], False), cap(plain_node(entries, shared))]
    branches: list[Any] = []
    for nibble in range(16):
        below = {key: value for key, value in entries.items() if len(key) > depth and key[depth] == nibble}
        branches.append(cap(plain_node(below, depth + 1)) if below else b"")
    return [*branches, b""]


def cap(node: Any) -> Any:
    encoded = rlp.encode(node)
    return node if len(encoded) < 32 else keccak256(encoded)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=300))
def test_the_root_of_an_ordered_trie_is_the_yellow_papers(values: list[bytes]) -> None:
    keys = [rlp.encode(position) for position in range(len(values))]
    entries = {
        tuple(half for byte in key for half in (byte >> 4, byte & 15)): value
        for key, value in zip(keys, values, strict=True)
    }
    assert ordered_root(values) == plain_root(entries)


def test_the_empty_tries_root() -> None:
    assert ordered_root([]) == EMPTY_ROOT == keccak256(rlp.encode(b""))
