"""Identity of a message: where its log is, what it says, and the checksum that commits to both.

Any log of any contract is an initiating message. Its payload is its topics, one after the other, and its data.

    payload hash = keccak(payload)                                   the `msgHash` of the contracts
    log hash     = keccak(origin (20) || payload hash (32))
    position     = 0 (12) || block number (8) || timestamp (8) || log index (4)
    checksum     = 0x03 || keccak(keccak(log hash || position) || chain id (32))[1:]

The position packs the timestamp before the log index, while the Identifier of the contracts (and every ABI encoding of
it) has the log index first. A checksum commits to a place in a block, not to a block or transaction hash: it can be
computed before the block exists.

Source: OP Stack specs, interop/predeploys.md (CrossL2Inbox, calculateChecksum) and interop/messaging.md.
"""

from collections.abc import Sequence
from typing import Final, NewType

import msgspec

from plait.errors import MessageRefused
from plait.native import keccak256
from plait.types import Address, BlockNumber, Hash32, Seconds

LogIndex = NewType("LogIndex", int)
"""Position of a log within its block, counted over all transactions, deposits included; 0 to 2**32 - 1."""

MessageChainId = NewType("MessageChainId", int)
"""Chain id as messages carry it, 0 to 2**256 - 1. A rollup of Plait has one below 2**64, its peers may not."""

CHECKSUM_TYPE: Final = 0x03
"""First byte of a checksum, which is also the type of its access-list entry."""

UINT32_MAX: Final = 2**32 - 1
UINT64_MAX: Final = 2**64 - 1
UINT256_MAX: Final = 2**256 - 1


class Identifier(msgspec.Struct, frozen=True, kw_only=True):
    """Where a log is: the struct `Identifier` of CrossL2Inbox, fields in its order.

    Raises:
        MessageRefused: `identifier_out_of_range` when a field does not fit; a checksum could not hold it.
    """

    origin: Address
    """Contract that emitted the log."""
    block_number: BlockNumber
    log_index: LogIndex
    timestamp: Seconds
    """Of the block that holds the log."""
    chain_id: MessageChainId

    def __post_init__(self) -> None:
        """Refuses fields that do not fit."""
        if len(self.origin) != 20:
            raise MessageRefused("origin of a message must be 20 bytes", code="identifier_out_of_range")
        check_position(self.block_number, self.timestamp, self.log_index, self.chain_id)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A log by position and content: everything that executing it commits to."""

    identifier: Identifier
    payload_hash: Hash32

    def checksum(self) -> Hash32:
        """The checksum; what an access list must hold for the message to be executed."""
        at = self.identifier
        log_hash = log_hash_of(at.origin, self.payload_hash)
        return checksum_of(at.block_number, at.timestamp, at.log_index, at.chain_id, log_hash)


def check_position(
    block_number: BlockNumber, timestamp: Seconds, log_index: LogIndex, chain_id: MessageChainId
) -> None:
    """Raises MessageRefused `identifier_out_of_range` when a field does not fit into its packed width."""
    bounds = (
        ("block number", block_number, UINT64_MAX),
        ("timestamp", timestamp, UINT64_MAX),
        ("log index", log_index, UINT32_MAX),
        ("chain id", chain_id, UINT256_MAX),
    )
    for name, value, maximum in bounds:
        if not 0 <= value <= maximum:
            raise MessageRefused(
                f"{name} of a message must be 0 to {maximum}, not {value}",
                code="identifier_out_of_range",
                field=name,
                value=value,
            )


def payload_of(topics: Sequence[Hash32], data: bytes) -> bytes:
    """What a log says: its topics (0 to 4, 32 bytes each) and its data, joined."""
    return b"".join((*topics, data))


def payload_hash_of(topics: Sequence[Hash32], data: bytes) -> Hash32:
    """Keccak-256 of the payload; the contracts call it message hash."""
    return Hash32(keccak256(payload_of(topics, data)))


def log_hash_of(origin: Address, payload_hash: Hash32) -> Hash32:
    """Hash of a log without its position: origin and payload hash."""
    return Hash32(keccak256(origin + payload_hash))


def checksum_of(
    block_number: BlockNumber, timestamp: Seconds, log_index: LogIndex, chain_id: MessageChainId, log_hash: Hash32
) -> Hash32:
    """Checksum of the log with this hash at this position.

    Args:
        block_number, timestamp: 0 to 2**64 - 1.
        log_index: 0 to 2**32 - 1.
        chain_id: 0 to 2**256 - 1.
        log_hash: 32 bytes, see `log_hash_of`.

    Raises:
        MessageRefused: `identifier_out_of_range`.
    """
    check_position(block_number, timestamp, log_index, chain_id)
    position = bytes(12) + block_number.to_bytes(8, "big") + timestamp.to_bytes(8, "big") + log_index.to_bytes(4, "big")
    placed = keccak256(log_hash + position)
    return Hash32(bytes((CHECKSUM_TYPE,)) + keccak256(placed + chain_id.to_bytes(32, "big"))[1:])


def message_of_log(
    origin: Address,
    topics: Sequence[Hash32],
    data: bytes,
    *,
    block_number: BlockNumber,
    log_index: LogIndex,
    timestamp: Seconds,
    chain_id: MessageChainId,
) -> Message:
    """The message that a log at a known (or foreseen) position initiates.

    Raises:
        MessageRefused: `identifier_out_of_range`.
    """
    identifier = Identifier(
        origin=origin, block_number=block_number, log_index=log_index, timestamp=timestamp, chain_id=chain_id
    )
    return Message(identifier=identifier, payload_hash=payload_hash_of(topics, data))
