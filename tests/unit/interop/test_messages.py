"""Events: what they are not, and each way in which one can be malformed (after op-core's messages_test.go)."""

from __future__ import annotations

import pytest
from eth_abi import encode

from plait.errors import MessageRefused
from plait.interop.identifiers import Identifier, LogIndex, MessageChainId
from plait.interop.messages import (
    CROSS_L2_INBOX,
    EXECUTING_MESSAGE_TOPIC,
    MESSENGER,
    RELAYED_MESSAGE_TOPIC,
    SENT_MESSAGE_TOPIC,
    Log,
    decode_executing_message,
    decode_relayed_message,
    decode_sent_message,
    executing_messages,
    is_executing_message,
    is_relayed_message,
    is_sent_message,
    relay_calldata,
)
from plait.interop.relays import relays_of
from plait.limits import TRANSACTION_BYTES_MAX
from plait.types import Address, BlockNumber, Hash32, Seconds

PAYLOAD_HASH = Hash32(b"\x07" * 32)
OTHER = Hash32(b"\x09" * 32)


def zero_but(position: int) -> bytes:
    data = bytearray(160)
    data[position] = 1
    return bytes(data)


@pytest.mark.parametrize(
    ("topics", "data", "code"),
    [
        ([], bytes(160), "event_topics"),
        ([EXECUTING_MESSAGE_TOPIC], bytes(160), "event_topics"),
        ([OTHER, PAYLOAD_HASH], bytes(160), "event_topics"),
        ([EXECUTING_MESSAGE_TOPIC, PAYLOAD_HASH, OTHER], bytes(160), "event_topics"),
        ([EXECUTING_MESSAGE_TOPIC, PAYLOAD_HASH], bytes(128), "event_size"),
        ([EXECUTING_MESSAGE_TOPIC, PAYLOAD_HASH], bytes(192), "event_size"),
        ([EXECUTING_MESSAGE_TOPIC, PAYLOAD_HASH], zero_but(0), "event_padding"),
        ([EXECUTING_MESSAGE_TOPIC, PAYLOAD_HASH], zero_but(11), "event_padding"),
        ([EXECUTING_MESSAGE_TOPIC, PAYLOAD_HASH], zero_but(32 + 23), "event_padding"),
        ([EXECUTING_MESSAGE_TOPIC, PAYLOAD_HASH], zero_but(64 + 27), "event_padding"),
        ([EXECUTING_MESSAGE_TOPIC, PAYLOAD_HASH], zero_but(96 + 23), "event_padding"),
    ],
)
def test_malformed_executing_message(topics: list[Hash32], data: bytes, code: str) -> None:
    """Topics, length and the padding of every field are checked."""
    with pytest.raises(MessageRefused) as refused:
        decode_executing_message(topics, data)
    assert refused.value.code == code


def sent_data(message: bytes) -> bytes:
    return encode(["address", "bytes"], [bytes(20), message])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "event_size"),
        (sent_data(b"")[:-1], "event_size"),
        (sent_data(b"abc") + bytes(32), "event_size"),
        (sent_data(b"abc")[:-32], "event_size"),
        (bytes(32) + (96).to_bytes(32, "big") + bytes(64), "event_size"),
        (bytes(32) + (64).to_bytes(32, "big") + (2**256 - 1).to_bytes(32, "big"), "event_size"),
        (sent_data(b"abc")[:-1] + b"\x01", "event_padding"),
        (b"\x01" + sent_data(b"abc")[1:], "event_padding"),
    ],
)
def test_malformed_sent_message(data: bytes, code: str) -> None:
    """Only the layout that the messenger emits is read."""
    with pytest.raises(MessageRefused) as refused:
        decode_sent_message([SENT_MESSAGE_TOPIC, OTHER, Hash32(bytes(32)), OTHER], data)
    assert refused.value.code == code


def test_relayed_message() -> None:
    """Source, nonce, hash of the message and of what the call returned."""
    read = decode_relayed_message(
        [RELAYED_MESSAGE_TOPIC, Hash32((901).to_bytes(32, "big")), Hash32((7).to_bytes(32, "big")), OTHER], PAYLOAD_HASH
    )
    assert (read.source, read.nonce, read.message_hash, read.return_data_hash) == (901, 7, OTHER, PAYLOAD_HASH)
    with pytest.raises(MessageRefused):
        decode_relayed_message([RELAYED_MESSAGE_TOPIC, OTHER, OTHER, OTHER], b"")


def test_only_the_predeploys_speak_for_the_protocol() -> None:
    """The same event of another contract, another event, and a log without topics are none of the three."""
    for topic, address, known in (
        (EXECUTING_MESSAGE_TOPIC, CROSS_L2_INBOX, is_executing_message),
        (SENT_MESSAGE_TOPIC, MESSENGER, is_sent_message),
        (RELAYED_MESSAGE_TOPIC, MESSENGER, is_relayed_message),
    ):
        assert known(Log(address, [topic], b""))
        assert not known(Log(Address(b"\x01" * 20), [topic], b""))
        assert not known(Log(address, [OTHER], b""))
        assert not known(Log(address, [], topic))


def test_executing_messages_are_numbered_by_their_log() -> None:
    """Position counts every log, from the given one on; a malformed event of the inbox is refused, not skipped."""
    good = Log(CROSS_L2_INBOX, [EXECUTING_MESSAGE_TOPIC, PAYLOAD_HASH], bytes(160))
    foreign = Log(Address(b"\x01" * 20), [OTHER], b"")
    found = executing_messages([foreign, good, foreign, good], LogIndex(5))
    assert [index for index, _ in found] == [6, 8]
    with pytest.raises(MessageRefused):
        executing_messages([good, Log(CROSS_L2_INBOX, [EXECUTING_MESSAGE_TOPIC], b"")], LogIndex(0))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("block_number", 2**64), ("block_number", -1), ("log_index", 2**32), ("timestamp", 2**64),
        ("chain_id", 2**256), ("chain_id", -1), ("origin", b"\x01" * 19),
    ],
)  # fmt: skip
def test_an_identifier_that_fits_nowhere_is_refused(field: str, value: object) -> None:
    """Every field has the width that its checksum packs (D8, D11)."""
    fields: dict[str, object] = {
        "origin": Address(bytes(20)), "block_number": BlockNumber(0), "log_index": LogIndex(0),
        "timestamp": Seconds(0), "chain_id": MessageChainId(0),
    }  # fmt: skip
    with pytest.raises(MessageRefused) as refused:
        Identifier(**(fields | {field: value}))  # type: ignore[arg-type]
    assert refused.value.code == "identifier_out_of_range"


def test_a_message_that_no_transaction_can_hold_is_not_encoded() -> None:
    """Relaying is bounded by the size of a transaction."""
    identifier = Identifier(
        origin=MESSENGER, block_number=BlockNumber(0), log_index=LogIndex(0), timestamp=Seconds(0),
        chain_id=MessageChainId(1),
    )  # fmt: skip
    assert relay_calldata(identifier, bytes(TRANSACTION_BYTES_MAX - 1))
    with pytest.raises(MessageRefused) as refused:
        relay_calldata(identifier, bytes(TRANSACTION_BYTES_MAX))
    assert refused.value.code == "message_too_large"


def test_a_message_that_no_transaction_can_hold_has_no_relay() -> None:
    """It is left out, and the one after it keeps its position."""
    topics = [SENT_MESSAGE_TOPIC, OTHER, Hash32(bytes(32)), OTHER]
    logs = [Log(MESSENGER, topics, sent_data(bytes(size))) for size in (TRANSACTION_BYTES_MAX, 3)]
    (relay,) = relays_of(
        logs, first_log_index=LogIndex(7), block_number=BlockNumber(1), timestamp=Seconds(2), chain_id=MessageChainId(3)
    )
    assert relay.message.identifier.log_index == 8
    assert relay.sent.message == bytes(3)
