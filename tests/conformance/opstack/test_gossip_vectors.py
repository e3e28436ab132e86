"""Signed unsafe blocks against the OP Stack's published messages and signing hashes."""

import json
from pathlib import Path
from typing import Any

import pytest

from plait.derivation.execution_payload import decode_envelope_ssz, encode_envelope_ssz
from plait.derivation.gossip import decode_message, encode_message, signing_hash
from plait.types import ChainId

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "gossip.json").read_text())
OP_MAINNET = ChainId(10)


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: f"v{vector['version']}")
def test_a_published_message_decodes_and_encodes_to_its_own_bytes(vector: dict[str, Any]) -> None:
    message = raw(vector["message"])
    signed = decode_message(message, OP_MAINNET, vector["version"])
    assert signed.envelope.payload.version == vector["version"]
    assert signed.envelope.payload.timestamp == vector["timestamp"]
    assert encode_message(signed.envelope, OP_MAINNET, lambda _digest: signed.signature) == message
    ssz = encode_envelope_ssz(signed.envelope)
    assert decode_envelope_ssz(ssz, vector["version"]) == signed.envelope


@pytest.mark.parametrize("vector", VECTORS["signing_hashes"], ids=lambda vector: str(vector["chain_id"]))
def test_the_signing_hash_is_the_published_one(vector: dict[str, Any]) -> None:
    found = signing_hash(ChainId(vector["chain_id"]), raw(vector["payload"]), raw(vector["domain"]))
    assert found == raw(vector["hash"])
