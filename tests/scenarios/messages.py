"""Messages of scenarios: sent through the messenger, foreseen before they are sent, relayed by whoever likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_abi import encode

from plait.interop.access_list import Access, access_of, encode_accesses
from plait.interop.identifiers import Identifier, LogIndex, Message, MessageChainId, message_of_log
from plait.interop.messages import CROSS_L2_INBOX, MESSENGER, SENT_MESSAGE_TOPIC, Log
from plait.interop.relays import Relay, relays_of
from plait.native import keccak256
from plait.types import Address, BlockNumber, Hash32, RollupId, Seconds
from tests.scenarios.world import World, calldata

IDENTIFIER = "(address,uint256,uint256,uint256,uint256)"


def send(destination: int, target: bytes, data: bytes) -> bytes:
    """Calldata of the messenger that sends a message."""
    return calldata("sendMessage(uint256,address,bytes)", destination, target, data)


def foreseen(  # noqa: PLR0917 (a message has so many parts)
    world: World,
    source: RollupId,
    destination: int,
    target: bytes,
    sender: bytes,
    data: bytes,
    *,
    log: int = 0,
    earlier: int = 0,
) -> Relay:
    """A message that is not sent yet: it will be the `log`-th log from now on of the source's open block, after
    `earlier` other messages."""
    block = world.rollup(source).open_block
    assert block is not None
    nonce = world.ask(source, MESSENGER, "messageNonce()") + earlier
    topics = [SENT_MESSAGE_TOPIC, _word(destination), _word(target), _word(nonce)]
    body = encode(["address", "bytes"], [sender, data])
    (relay,) = relays_of(
        [Log(MESSENGER, topics, body)],
        first_log_index=LogIndex(block.log_count + log),
        block_number=BlockNumber(block.number),
        timestamp=Seconds(block.timestamp),
        chain_id=MessageChainId(source),
    )
    return relay


def event(
    world: World, source: RollupId, origin: bytes, topics: Sequence[bytes], data: bytes, *, log: int = 0
) -> Message:
    """Any log of any contract as a message, foreseen as the `log`-th from now on."""
    block = world.rollup(source).open_block
    assert block is not None
    return message_of_log(
        Address(origin),
        [Hash32(topic) for topic in topics],
        data,
        block_number=BlockNumber(block.number),
        log_index=LogIndex(block.log_count + log),
        timestamp=Seconds(block.timestamp),
        chain_id=MessageChainId(source),
    )


def relaying(world: World, user: int, relay: Relay, *, after: int = 0, **changes: Any) -> bytes:
    """A user's transaction that delivers a message."""
    fields: dict[str, Any] = {"access_list": declared(relay.access), "gas": 2_000_000} | changes
    destination = RollupId(relay.sent.destination)
    return world.tx(destination, user, MESSENGER, relay.calldata, after=after, **fields)


def validating(
    world: World, rollup_id: RollupId, user: int, *messages: Message, after: int = 0, **changes: Any
) -> bytes:
    """A transaction that executes a message by asking CrossL2Inbox; its access list declares all that are given."""
    fields: dict[str, Any] = {"access_list": declared(*map(access_of, messages))} | changes
    return world.tx(rollup_id, user, CROSS_L2_INBOX, validate(messages[0]), after=after, **fields)


def validate(message: Message) -> bytes:
    """Calldata of CrossL2Inbox that executes a message."""
    at = message.identifier
    fields = (at.origin, at.block_number, at.log_index, at.timestamp, at.chain_id)
    return calldata(f"validateMessage({IDENTIFIER},bytes32)", fields, message.payload_hash)


def declared(*accesses: Access) -> list[tuple[bytes, list[bytes]]]:
    """The access list that declares these messages."""
    return [(CROSS_L2_INBOX, list(encode_accesses(accesses)))]


def changed(message: Message, **fields: Any) -> Message:
    """A message that says something else about where it is."""
    at = message.identifier
    names = ("origin", "block_number", "log_index", "timestamp", "chain_id")
    kept = {name: getattr(at, name) for name in names}
    return Message(
        identifier=Identifier(**{k: v for k, v in (kept | fields).items() if k in names}),
        payload_hash=fields.get("payload_hash", message.payload_hash),
    )


def delivered(world: World, relay: Relay) -> bool:
    """Whether the destination's messenger says so, on every validator."""
    answers = {
        world.ask(RollupId(relay.sent.destination), MESSENGER, "successfulMessages(bytes32)", relay.message_hash)
    }
    assert answers <= {0, 1}
    return answers == {1}


def _word(value: int | bytes) -> Hash32:
    return Hash32(value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0"))


__all__ = [
    "IDENTIFIER",
    "changed",
    "declared",
    "delivered",
    "event",
    "foreseen",
    "keccak256",
    "relaying",
    "send",
    "validate",
    "validating",
]
