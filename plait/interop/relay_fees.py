"""What the delivery of a message earns, and how it is claimed: calldata and logs of RELAY_DESK and RELAY_FEES.

    Delivered(bytes32 indexed messageHash, uint256 indexed source, address indexed relayer)   RELAY_DESK, destination
    DeliveryRequired(bytes32 indexed messageHash)                                             RELAY_FEES, source

    offer(messageHash, sender) -> (amount, gasLimit)      on the source, before the delivery
    relay(id, payload)                                    on the destination; `Relay.desk_calldata`
    claim(id of Delivered, relayer, what was sent)        on the source; executes the Delivered log as a message

These contracts are Plait's own (contracts/src/interop/{RelayDesk,RelayFees}.sol); docs/interop.md has their rules.
Readers accept the one canonical encoding and refuse every other, as those of plait.interop.messages do.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from plait.errors import MessageRefused
from plait.interop.access_list import Access, access_of, encode_accesses
from plait.interop.identifiers import UINT64_MAX, LogIndex, Message, MessageChainId, message_of_log
from plait.interop.messages import (
    RELAY_DESK,
    RELAY_FEES,
    Log,
    address_of,
    encode_abi_bytes,
    encode_identifier,
    expect_topics,
    integer_of,
)
from plait.interop.relays import Relay
from plait.native import keccak256
from plait.types import Address, BlockNumber, Gas, Hash32, Seconds, Wei

# keccak256 of the event's signature
DELIVERED_TOPIC: Final = Hash32(keccak256(b"Delivered(bytes32,uint256,address)"))
DELIVERY_REQUIRED_TOPIC: Final = Hash32(keccak256(b"DeliveryRequired(bytes32)"))

_OFFER_SELECTOR: Final = keccak256(b"offer(bytes32,address)")[:4]
_CLAIM_SELECTOR: Final = keccak256(
    b"claim((address,uint256,uint256,uint256,uint256),address,uint256,address,address,bytes)"
)[:4]
_CLAIM_HEAD_WORDS: Final = 10
"""Identifier (5), relayer, nonce, sender, target, offset of the message."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a delivery earns at the moment; nothing when `amount` is 0."""

    amount: Wei
    gas_limit: Gas
    """Gas that the payers think the delivery needs; a hint of whoever pays, not a bound."""


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What RELAY_DESK reports of a delivery."""

    message_hash: Hash32
    source: MessageChainId
    relayer: Address


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The transaction to RELAY_FEES on the message's source that pays `delivered.relayer`."""

    delivered: Delivered
    message: Message
    """The Delivered log, executed on the source."""
    access: Access
    keys: tuple[Hash32, ...]
    """Storage keys of CrossL2Inbox for the transaction's access list."""
    calldata: bytes


def offer_calldata(message_hash: Hash32, sender: Address) -> bytes:
    """Calldata of `offer`. `sender` is the message's; another one is told what it cannot claim."""
    return _OFFER_SELECTOR + message_hash + sender.rjust(32, b"\x00")


def decode_offer(answer: bytes) -> Offer:
    """Reads the answer of `offer`.

    Raises:
        MessageRefused: `offer_size`; `event_padding` when the gas limit is above 2**64 - 1.
    """
    if len(answer) != 64:
        raise MessageRefused(f"an offer has 64 bytes, not {len(answer)}", code="offer_size", size=len(answer))
    return Offer(amount=Wei(integer_of(answer, 0)), gas_limit=Gas(integer_of(answer, 1, UINT64_MAX)))


def is_delivered(log: Log) -> bool:
    """Whether the log is one of the desk that names the relayer of a message."""
    return log.address == RELAY_DESK and len(log.topics) > 0 and log.topics[0] == DELIVERED_TOPIC


def is_delivery_required(log: Log) -> bool:
    """Whether the log says that its transaction is void unless its bundle delivers a message."""
    return log.address == RELAY_FEES and len(log.topics) > 0 and log.topics[0] == DELIVERY_REQUIRED_TOPIC


def decode_delivered(topics: Sequence[Hash32], data: bytes) -> Delivered:
    """Reads a Delivered log.

    Raises:
        MessageRefused: `event_topics`, `event_size`, `event_padding`.
    """
    expect_topics(topics, DELIVERED_TOPIC, 4)
    _expect_no_data(data)
    return Delivered(
        message_hash=topics[1],
        source=MessageChainId(integer_of(topics[2], 0)),
        relayer=address_of(topics[3], 0),
    )


def decode_delivery_required(topics: Sequence[Hash32], data: bytes) -> Hash32:
    """The hash of the message that a DeliveryRequired log names.

    Raises:
        MessageRefused: `event_topics`, `event_size`.
    """
    expect_topics(topics, DELIVERY_REQUIRED_TOPIC, 2)
    _expect_no_data(data)
    return topics[1]


def claim_of(relay: Relay, log: Log, *, block_number: BlockNumber, log_index: LogIndex, timestamp: Seconds) -> Claim:
    """The claim for a delivery.

    Args:
        relay: the message, as `relays_of` found it on its source.
        log: the desk's Delivered log on the destination.
        block_number, log_index, timestamp: where that log is, in an open block or a sealed one.

    Raises:
        MessageRefused: `delivery_foreign` when the log is not the desk's or is of another message; a malformed log as
            `decode_delivered`; `identifier_out_of_range`.
    """
    if not is_delivered(log):
        raise MessageRefused("the log is not one of the relay desk", code="delivery_foreign", address=log.address)
    delivered = decode_delivered(log.topics, log.data)
    sent, source = relay.sent, relay.message.identifier.chain_id
    if (delivered.message_hash, delivered.source) != (relay.message_hash, source):
        raise MessageRefused("the log is of another message", code="delivery_foreign", delivered=delivered.message_hash)
    message = message_of_log(
        log.address, log.topics, log.data,
        block_number=block_number, log_index=log_index, timestamp=timestamp, chain_id=sent.destination,
    )  # fmt: skip
    access = access_of(message)
    return Claim(
        delivered=delivered,
        message=message,
        access=access,
        keys=tuple(encode_accesses([access])),
        calldata=_CLAIM_SELECTOR
        + encode_identifier(message.identifier)
        + delivered.relayer.rjust(32, b"\x00")
        + sent.nonce.to_bytes(32, "big")
        + sent.sender.rjust(32, b"\x00")
        + sent.target.rjust(32, b"\x00")
        + (_CLAIM_HEAD_WORDS * 32).to_bytes(32, "big")
        + encode_abi_bytes(sent.message),
    )


def _expect_no_data(data: bytes) -> None:
    if data:
        raise MessageRefused(f"the event has no data, not {len(data)} bytes", code="event_size", size=len(data))
