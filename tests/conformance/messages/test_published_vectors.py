"""The checker's own reading of identity and access lists against the OP Stack's published vectors, and the vectors
themselves against the facts that they state: nothing of plait/interop takes part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.conformance.messages.checker import (
    EXECUTING,
    INBOX,
    Claim,
    Malformed,
    checksum,
    declared_by,
    executed_by,
    payload_hash,
    read_keys,
)
from tests.conformance.messages.histories import claim_of, executing_log, keys_of
from tests.conformance.messages.reading import Log

VECTORS = Path(__file__).parents[1] / "vectors"
IDENTITY: dict[str, Any] = json.loads((VECTORS / "interop_identity.json").read_text())
ACCESS_LIST: dict[str, Any] = json.loads((VECTORS / "interop_access_list.json").read_text())


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def claim(vector: dict[str, Any]) -> Claim:
    return Claim(
        int(vector["chain_id"]), vector["block_number"], vector["log_index"], vector["timestamp"],
        raw(vector["checksum"]),
    )  # fmt: skip


def named(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


@named(IDENTITY["checksums"])
def test_checksums_are_the_published_ones(vector: dict[str, Any]) -> None:
    """From origin, payload hash and position; an executing log with them is read as that claim."""
    expected = claim(vector)
    origin, payload = raw(vector["origin"]), raw(vector["payload_hash"])
    assert keccak(origin + payload) == raw(vector["log_hash"])
    assert checksum(origin, payload, expected) == expected.checksum
    event = executing_log(Log(origin, (), b""), expected)._replace(topics=(EXECUTING, payload))
    assert executed_by(event) == expected


@named(IDENTITY["log_hashes"])
def test_log_hashes_are_the_published_ones(vector: dict[str, Any]) -> None:
    """Topics and data joined and hashed, then with the address."""
    log = Log(raw(vector["address"]), tuple(raw(topic) for topic in vector["topics"]), raw(vector["data"]))
    assert keccak(log.origin + payload_hash(log)) == raw(vector["log_hash"])


def test_the_example_payload_gives_the_published_checksum() -> None:
    """The whole way from the text "example payload" to the checksum, by both of this folder's encoders."""
    vector = IDENTITY["checksums"][0]
    payload = IDENTITY["payload"]
    log = Log(raw(vector["origin"]), (), payload["text"].encode())
    assert payload_hash(log) == raw(payload["payload_hash"])
    expected = claim(vector)
    made = claim_of(log, expected.chain_id, expected.block_number, expected.timestamp, expected.log_index)
    if raw(vector["payload_hash"]) == payload_hash(log):
        assert made == expected
    assert raw(IDENTITY["constants"]["executing_message_topic"]) == EXECUTING


@named(ACCESS_LIST["valid"])
def test_valid_keys_are_read(vector: dict[str, Any]) -> None:
    """Also when they are spread over several entries with strangers between."""
    keys = [raw(key) for key in vector["keys"]]
    expected = [claim(item) for item in vector["accesses"]]
    assert read_keys(keys) == expected
    spread = [((INBOX, (key,)), (bytes(20), (key,))) for key in keys]
    assert declared_by(tuple(entry for pair in spread for entry in pair)) == expected


@named(ACCESS_LIST["malformed"])
def test_malformed_keys_are_refused(vector: dict[str, Any]) -> None:
    """All of them, in one entry or one entry per key."""
    keys = [raw(key) for key in vector["keys"]]
    for access_list in (((INBOX, tuple(keys)),), tuple((INBOX, (key,)) for key in keys)):
        with pytest.raises(Malformed):
            declared_by(access_list)


@named(ACCESS_LIST["valid"])
def test_encoding_gives_the_keys_back(vector: dict[str, Any]) -> None:
    """Except where the vector holds an extension of zeros, which readers take and writers leave out."""
    keys = [raw(key) for key in vector["keys"]]
    encoded = [key for item in vector["accesses"] for key in keys_of(claim(item))]
    assert encoded == [key for key in keys if key != b"\x02" + bytes(31)]
