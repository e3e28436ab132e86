"""The three logs of interop, the messenger's message hash, and the calldata that relays a message.

    ExecutingMessage(bytes32 indexed msgHash, Identifier id)                        from CrossL2Inbox
    SentMessage(uint256 indexed destination, address indexed target, uint256 indexed messageNonce,
                address sender, bytes message)                                      from L2ToL2CrossDomainMessenger
    RelayedMessage(uint256 indexed source, uint256 indexed messageNonce, bytes32 indexed messageHash,
                bytes32 returnDataHash)                                             from L2ToL2CrossDomainMessenger

Readers accept the one canonical ABI encoding that those contracts emit and refuse every other: wrong length, padding
that is not zero, a field above its width. A log of another contract or event is none of them, which is not an error.

Source: OP Stack specs, interop/predeploys.md; ethereum-optimism/optimism op-core/interop/messages and
packages/contracts-bedrock (Hashing.hashL2toL2CrossDomainMessage).
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from plait.errors import MessageRefused
from plait.interop.identifiers import UINT32_MAX, UINT64_MAX, Identifier, LogIndex, Message, MessageChainId
from plait.limits import TRANSACTION_BYTES_MAX
from plait.native import keccak256
from plait.types import Address, BlockNumber, Hash32, Seconds

# OP Stack specs, interop/predeploys.md
CROSS_L2_INBOX: Final = Address(bytes.fromhex("4200000000000000000000000000000000000022"))
MESSENGER: Final = Address(bytes.fromhex("4200000000000000000000000000000000000023"))
ETH_BRIDGE: Final = Address(bytes.fromhex("4200000000000000000000000000000000000024"))
ETH_LIQUIDITY: Final = Address(bytes.fromhex("4200000000000000000000000000000000000025"))
TOKEN_BRIDGE: Final = Address(bytes.fromhex("4200000000000000000000000000000000000028"))

# Plait's own: "PLAIT" in ASCII, zeros, a number (docs/interop.md, relay fees)
RELAY_DESK: Final = Address(b"PLAIT".ljust(19, b"\x00") + b"\x01")
RELAY_FEES: Final = Address(b"PLAIT".ljust(19, b"\x00") + b"\x02")

# keccak256 of the event's signature
EXECUTING_MESSAGE_TOPIC: Final = Hash32(
    bytes.fromhex("5c37832d2e8d10e346e55ad62071a6a2f9fa5130614ef2ec6617555c6f467ba7")
)
SENT_MESSAGE_TOPIC: Final = Hash32(bytes.fromhex("382409ac69001e11931a28435afef442cbfd20d9891907e8fa373ba7d351f320"))
RELAYED_MESSAGE_TOPIC: Final = Hash32(keccak256(b"RelayedMessage(uint256,uint256,bytes32,bytes32)"))

_RELAY_SELECTOR: Final = keccak256(b"relayMessage((address,uint256,uint256,uint256,uint256),bytes)")[:4]
_DESK_SELECTOR: Final = keccak256(b"relay((address,uint256,uint256,uint256,uint256),bytes)")[:4]


class Log(NamedTuple):
    """A log as the native core reports it: contract, topics (0 to 4, 32 bytes each), data."""

    address: Address
    topics: Sequence[Hash32]
    data: bytes


class SentMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the messenger was asked to send; its sender and nonce come from the messenger itself."""

    destination: MessageChainId
    target: Address
    nonce: int
    """Version in the upper 16 bits (0), counter in the other 240."""
    sender: Address
    message: bytes


class RelayedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the messenger reports of a message that it delivered."""

    source: MessageChainId
    nonce: int
    message_hash: Hash32
    return_data_hash: Hash32


def is_executing_message(log: Log) -> bool:
    """Whether the log is one of CrossL2Inbox that says that a message is executed."""
    return log.address == CROSS_L2_INBOX and len(log.topics) > 0 and log.topics[0] == EXECUTING_MESSAGE_TOPIC


def is_sent_message(log: Log) -> bool:
    """Whether the log is one of the messenger that says that a message was sent (or sent again)."""
    return log.address == MESSENGER and len(log.topics) > 0 and log.topics[0] == SENT_MESSAGE_TOPIC


def is_relayed_message(log: Log) -> bool:
    """Whether the log is one of the messenger that says that a message was delivered."""
    return log.address == MESSENGER and len(log.topics) > 0 and log.topics[0] == RELAYED_MESSAGE_TOPIC


def decode_executing_message(topics: Sequence[Hash32], data: bytes) -> Message:
    """The message that an ExecutingMessage log executes.

    Args:
        topics: the event's hash and the payload hash.
        data: the identifier, five words in ABI order (log index before timestamp).

    Raises:
        MessageRefused: `event_topics`, `event_size`, `event_padding`.
    """
    expect_topics(topics, EXECUTING_MESSAGE_TOPIC, 2)
    if len(data) != 5 * 32:
        raise MessageRefused(f"an identifier has 160 bytes, not {len(data)}", code="event_size", size=len(data))
    return Message(
        identifier=Identifier(
            origin=address_of(data, 0),
            block_number=BlockNumber(integer_of(data, 1, UINT64_MAX)),
            log_index=LogIndex(integer_of(data, 2, UINT32_MAX)),
            timestamp=Seconds(integer_of(data, 3, UINT64_MAX)),
            chain_id=MessageChainId(integer_of(data, 4)),
        ),
        payload_hash=topics[1],
    )


def executing_messages(logs: Iterable[Log], first_log_index: LogIndex) -> list[tuple[LogIndex, Message]]:
    """All messages that these logs execute, each with the position of its ExecutingMessage log.

    Args:
        logs: consecutive logs of a block.
        first_log_index: position of the first of them in the block.

    Raises:
        MessageRefused: an event of CrossL2Inbox is malformed, as `decode_executing_message`.
    """
    return [
        (LogIndex(index), decode_executing_message(log.topics, log.data))
        for index, log in enumerate(logs, first_log_index)
        if is_executing_message(log)
    ]


def decode_sent_message(topics: Sequence[Hash32], data: bytes) -> SentMessage:
    """Reads a SentMessage log.

    Raises:
        MessageRefused: `event_topics`, `event_size`, `event_padding`.
    """
    expect_topics(topics, SENT_MESSAGE_TOPIC, 4)
    if len(data) < 96 or len(data) % 32:
        raise MessageRefused(f"data of SentMessage cannot have {len(data)} bytes", code="event_size", size=len(data))
    offset, length = integer_of(data, 1), integer_of(data, 2)
    padded = (length + 31) // 32 * 32
    if offset != 64 or len(data) != 96 + padded:
        raise MessageRefused("data of SentMessage is not in its canonical layout", code="event_size", size=len(data))
    if any(data[96 + length :]):
        raise MessageRefused("padding of a SentMessage must be zero", code="event_padding")
    return SentMessage(
        destination=MessageChainId(integer_of(topics[1], 0)),
        target=address_of(topics[2], 0),
        nonce=integer_of(topics[3], 0),
        sender=address_of(data, 0),
        message=data[96 : 96 + length],
    )


def decode_relayed_message(topics: Sequence[Hash32], data: bytes) -> RelayedMessage:
    """Reads a RelayedMessage log.

    Raises:
        MessageRefused: `event_topics`, `event_size`.
    """
    expect_topics(topics, RELAYED_MESSAGE_TOPIC, 4)
    if len(data) != 32:
        raise MessageRefused("data of RelayedMessage has 32 bytes", code="event_size", size=len(data))
    return RelayedMessage(
        source=MessageChainId(integer_of(topics[1], 0)),
        nonce=integer_of(topics[2], 0),
        message_hash=topics[3],
        return_data_hash=Hash32(data),
    )


def message_hash_of(sent: SentMessage, source: MessageChainId) -> Hash32:
    """The messenger's own hash of a message sent on `source`: its key in successfulMessages on the destination."""
    head = (sent.destination, source, sent.nonce)
    return Hash32(
        keccak256(
            b"".join(value.to_bytes(32, "big") for value in head)
            + sent.sender.rjust(32, b"\x00")
            + sent.target.rjust(32, b"\x00")
            + (6 * 32).to_bytes(32, "big")
            + encode_abi_bytes(sent.message)
        )
    )


def relay_calldata(identifier: Identifier, sent_message_payload: bytes) -> bytes:
    """Calldata of `relayMessage` that delivers a message on its destination.

    Args:
        identifier: where the SentMessage log is.
        sent_message_payload: that log's payload (`identifiers.payload_of`).

    Raises:
        MessageRefused: `message_too_large` when no transaction can hold it.
    """
    return _RELAY_SELECTOR + _delivery_arguments(identifier, sent_message_payload)


def desk_calldata(identifier: Identifier, sent_message_payload: bytes) -> bytes:
    """Calldata of RELAY_DESK's `relay` that delivers a message on its destination and says who did; as relay_calldata.

    Raises:
        MessageRefused: `message_too_large` when no transaction can hold it.
    """
    return _DESK_SELECTOR + _delivery_arguments(identifier, sent_message_payload)


def encode_identifier(identifier: Identifier) -> bytes:
    """ABI encoding of the struct: five words, the log index before the timestamp."""
    numbers = (identifier.block_number, identifier.log_index, identifier.timestamp, identifier.chain_id)
    return identifier.origin.rjust(32, b"\x00") + b"".join(number.to_bytes(32, "big") for number in numbers)


def _delivery_arguments(identifier: Identifier, sent_message_payload: bytes) -> bytes:
    if len(sent_message_payload) >= TRANSACTION_BYTES_MAX:
        raise MessageRefused(
            f"a message of {len(sent_message_payload)} bytes fits into no transaction that could relay it",
            code="message_too_large",
            size=len(sent_message_payload),
        )
    return encode_identifier(identifier) + (6 * 32).to_bytes(32, "big") + encode_abi_bytes(sent_message_payload)


def expect_topics(topics: Sequence[Hash32], event: Hash32, count: int) -> None:
    """Raises MessageRefused `event_topics` unless these are `count` topics, the event's hash first."""
    if len(topics) != count or topics[0] != event or any(len(topic) != 32 for topic in topics):
        raise MessageRefused(
            f"the event {event[:4].hex()}.. has {count} topics, its own hash first", code="event_topics"
        )


def integer_of(data: bytes, word: int, maximum: int | None = None) -> int:
    """One 32-byte word of an ABI encoding as an integer. Raises MessageRefused `event_padding` above `maximum`."""
    value = int.from_bytes(data[32 * word : 32 * word + 32], "big")
    if maximum is not None and value > maximum:
        raise MessageRefused(f"word {word} of an event is above {maximum}", code="event_padding", word=word)
    return value


def address_of(data: bytes, word: int) -> Address:
    """One word of an ABI encoding as an address. Raises MessageRefused `event_padding` when it is none."""
    raw = data[32 * word : 32 * word + 32]
    if any(raw[:12]):
        raise MessageRefused(f"word {word} of an event is not an address", code="event_padding", word=word)
    return Address(raw[12:])


def encode_abi_bytes(value: bytes) -> bytes:
    """ABI encoding of bytes: length, content, zeros up to a whole word."""
    return len(value).to_bytes(32, "big") + value + bytes(-len(value) % 32)
