"""Identity and access lists of interop messages against the OP Stack's published vectors."""

import json
from pathlib import Path
from typing import Any

import pytest

from plait.errors import MessageRefused
from plait.interop.access_list import Access, encode_accesses, parse_accesses
from plait.interop.identifiers import (
    Identifier,
    LogIndex,
    Message,
    MessageChainId,
    log_hash_of,
    payload_hash_of,
)
from plait.interop.messages import EXECUTING_MESSAGE_TOPIC, SENT_MESSAGE_TOPIC
from plait.native import keccak256
from plait.types import Address, BlockNumber, Hash32, Seconds

VECTORS = Path(__file__).parent / "vectors"
IDENTITY: dict[str, Any] = json.loads((VECTORS / "interop_identity.json").read_text())
ACCESS_LIST: dict[str, Any] = json.loads((VECTORS / "interop_access_list.json").read_text())


def raw(text: str) -> Hash32:
    return Hash32(bytes.fromhex(text[2:]))


def access(value: dict[str, Any]) -> Access:
    return Access(
        block_number=BlockNumber(value["block_number"]),
        timestamp=Seconds(value["timestamp"]),
        log_index=LogIndex(value["log_index"]),
        chain_id=MessageChainId(int(value["chain_id"])),
        checksum=raw(value["checksum"]),
    )


def named(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


@named(IDENTITY["checksums"])
def test_checksum_and_log_hash_are_the_published_ones(vector: dict[str, Any]) -> None:
    """Origin and payload hash give the log hash; with the position they give the checksum."""
    identifier = Identifier(
        origin=Address(raw(vector["origin"])),
        block_number=BlockNumber(vector["block_number"]),
        log_index=LogIndex(vector["log_index"]),
        timestamp=Seconds(vector["timestamp"]),
        chain_id=MessageChainId(int(vector["chain_id"])),
    )
    assert log_hash_of(identifier.origin, raw(vector["payload_hash"])) == raw(vector["log_hash"])
    message = Message(identifier=identifier, payload_hash=raw(vector["payload_hash"]))
    assert message.checksum() == raw(vector["checksum"])


@named(IDENTITY["log_hashes"])
def test_log_hash_of_a_log_is_the_published_one(vector: dict[str, Any]) -> None:
    """Topics and data of a log, joined and hashed with its address, give the published hash."""
    payload_hash = payload_hash_of([raw(topic) for topic in vector["topics"]], raw(vector["data"]))
    assert log_hash_of(Address(raw(vector["address"])), payload_hash) == raw(vector["log_hash"])


def test_constants_are_the_published_ones() -> None:
    """Event topics, the payload hash of the example and the selector of NotInAccessList()."""
    constants = IDENTITY["constants"]
    assert raw(constants["executing_message_topic"]) == EXECUTING_MESSAGE_TOPIC
    assert raw(constants["sent_message_topic"]) == SENT_MESSAGE_TOPIC
    identifier = "(address,uint256,uint256,uint256,uint256)"
    assert keccak256(f"ExecutingMessage(bytes32,{identifier})".encode()) == EXECUTING_MESSAGE_TOPIC
    assert keccak256(b"SentMessage(uint256,address,uint256,address,bytes)") == SENT_MESSAGE_TOPIC
    assert keccak256(b"NotInAccessList()")[:4] == raw(constants["not_in_access_list_selector"])
    payload = IDENTITY["payload"]
    assert payload_hash_of([], payload["text"].encode()) == raw(payload["payload_hash"])


@named(ACCESS_LIST["valid"])
def test_valid_access_list_is_read_and_written_back(vector: dict[str, Any]) -> None:
    """The keys mean these messages, and these messages have those keys (but for the one reading that is lenient)."""
    keys = [raw(key) for key in vector["keys"]]
    accesses = [access(value) for value in vector["accesses"]]
    assert parse_accesses(keys) == accesses
    assert (encode_accesses(accesses) == keys) is not vector.get("not_canonical", False)


@named(ACCESS_LIST["malformed"])
def test_malformed_access_list_is_refused(vector: dict[str, Any]) -> None:
    """Each malformed list is refused with the code of what is wrong."""
    with pytest.raises(MessageRefused) as refused:
        parse_accesses([raw(key) for key in vector["keys"]])
    assert refused.value.code == vector["code"]
