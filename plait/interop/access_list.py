"""How a transaction declares the messages that it executes: storage keys of CrossL2Inbox in its access list (EIP-2930).

Per message two or three keys, in this order:

    0x01 || 0 (3) || chain id, low 64 bits (8) || block number (8) || timestamp (8) || log index (4)     lookup
    0x02 || 0 (7) || chain id, high 192 bits (24)                                                        extension
    0x03 || checksum without its first byte (31)                                                         checksum

The extension is there exactly when the chain id needs more than 64 bits; the reader takes one of zeros too, as the OP
Stack's does. The reader refuses everything else: another order, padding that is not zero, a message cut short. An
access list may name the inbox several times: its keys count as one sequence, in order, and all of them are read, so
that nothing hides behind a first list that is well formed. The checksum's key is the one that CrossL2Inbox finds warm.

Source: OP Stack specs, interop/predeploys.md (access list); ethereum-optimism/optimism op-core/interop/messages.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from plait.codec.rlp import Reader
from plait.errors import CodecError, MessageRefused
from plait.interop.identifiers import (
    CHECKSUM_TYPE,
    UINT64_MAX,
    LogIndex,
    Message,
    MessageChainId,
    check_position,
)
from plait.interop.messages import CROSS_L2_INBOX
from plait.limits import ACCESS_LIST_KEYS_MAX
from plait.types import Address, BlockNumber, Hash32, Seconds

LOOKUP_TYPE: Final = 0x01
EXTENSION_TYPE: Final = 0x02

ACCESS_LIST_FIELD: Final = {1: 7, 2: 8, 4: 8}
"""Transaction type to the position of its access list among its fields (EIP-2930, EIP-1559, EIP-7702)."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """A message as an access list declares it: by position and checksum; origin and payload are only committed to.

    Raises:
        MessageRefused: `identifier_out_of_range`, `checksum_malformed`.
    """

    block_number: BlockNumber
    timestamp: Seconds
    log_index: LogIndex
    chain_id: MessageChainId
    checksum: Hash32

    def __post_init__(self) -> None:
        """Refuses what no key can hold."""
        check_position(self.block_number, self.timestamp, self.log_index, self.chain_id)
        if len(self.checksum) != 32 or self.checksum[0] != CHECKSUM_TYPE:
            raise MessageRefused(
                "a checksum is 32 bytes, the first of them 0x03", code="checksum_malformed", checksum=self.checksum
            )


def access_of(message: Message) -> Access:
    """The declaration of a known message."""
    at = message.identifier
    return Access(
        block_number=at.block_number,
        timestamp=at.timestamp,
        log_index=at.log_index,
        chain_id=at.chain_id,
        checksum=message.checksum(),
    )


def encode_accesses(accesses: Iterable[Access]) -> list[Hash32]:
    """Storage keys of CrossL2Inbox that declare these messages, in their order."""
    keys: list[Hash32] = []
    for access in accesses:
        position = (
            (access.chain_id & UINT64_MAX).to_bytes(8, "big")
            + access.block_number.to_bytes(8, "big")
            + access.timestamp.to_bytes(8, "big")
            + access.log_index.to_bytes(4, "big")
        )
        keys.append(Hash32(bytes((LOOKUP_TYPE, 0, 0, 0)) + position))
        if access.chain_id > UINT64_MAX:
            keys.append(Hash32(bytes((EXTENSION_TYPE,)) + bytes(7) + (access.chain_id >> 64).to_bytes(24, "big")))
        keys.append(access.checksum)
    return keys


def parse_accesses(keys: Sequence[Hash32]) -> list[Access]:
    """Reads all keys of CrossL2Inbox, joined over an access list; the inverse of `encode_accesses`.

    Raises:
        MessageRefused: `access_list_too_long`, `access_list_key_size`, `access_list_key_type` (another type than the
            order demands), `access_list_padding`, `access_list_incomplete` (a message is cut short).
    """
    if len(keys) > ACCESS_LIST_KEYS_MAX:
        raise MessageRefused(
            f"a transaction may name at most {ACCESS_LIST_KEYS_MAX} keys of CrossL2Inbox",
            code="access_list_too_long",
            keys=len(keys),
        )
    accesses: list[Access] = []
    index = 0
    while index < len(keys):
        lookup = _key(keys, index, (LOOKUP_TYPE,), zeros=3)
        index += 1
        chain_id = int.from_bytes(lookup[4:12], "big")
        key = _key(keys, index, (EXTENSION_TYPE, CHECKSUM_TYPE))
        if key[0] == EXTENSION_TYPE:
            key = _key(keys, index, (EXTENSION_TYPE,), zeros=7)
            chain_id |= int.from_bytes(key[8:], "big") << 64
            index += 1
            key = _key(keys, index, (CHECKSUM_TYPE,))
        index += 1
        accesses.append(
            Access(
                block_number=BlockNumber(int.from_bytes(lookup[12:20], "big")),
                timestamp=Seconds(int.from_bytes(lookup[20:28], "big")),
                log_index=LogIndex(int.from_bytes(lookup[28:32], "big")),
                chain_id=MessageChainId(chain_id),
                checksum=key,
            )
        )
    return accesses


def join_inbox_keys(access_list: Iterable[tuple[Address, Sequence[Hash32]]]) -> list[Hash32]:
    """All keys that an access list names for CrossL2Inbox, over all its entries, in order."""
    return [key for address, keys in access_list if address == CROSS_L2_INBOX for key in keys]


def parse_access_list(access_list: Iterable[tuple[Address, Sequence[Hash32]]]) -> list[Access]:
    """The messages that a transaction's access list declares, in order; none when it does not name CrossL2Inbox.

    Raises:
        MessageRefused: as `parse_accesses`.
    """
    return parse_accesses(join_inbox_keys(access_list))


def access_list_of_transaction(raw: bytes) -> list[tuple[Address, list[Hash32]]]:
    """Access list of a raw signed transaction; empty for legacy transactions and deposits, which have none.

    A transaction that has no access list can execute no message: deposits never do.

    Raises:
        CodecError: the bytes are not the canonical encoding of a transaction of type 1, 2 or 4 up to its access list.
    """
    if not raw:
        raise CodecError("a transaction has at least one byte")
    position = ACCESS_LIST_FIELD.get(raw[0])
    if position is None:
        return []
    fields = Reader(raw[1:], what="transaction").read_list("transaction fields")
    for _ in range(position):
        fields.read_bytes()
    entries = fields.read_list("access list")
    access_list: list[tuple[Address, list[Hash32]]] = []
    count = 0
    while entries.more:
        entry = entries.read_list("access list entry")
        address = Address(entry.read_bytes(size=20))
        keys = entry.read_bytes_list("storage keys", count_max=ACCESS_LIST_KEYS_MAX - count, size=32)
        entry.end()
        count += 1 + len(keys)
        if count > ACCESS_LIST_KEYS_MAX:
            raise CodecError(f"an access list has at most {ACCESS_LIST_KEYS_MAX} entries", code="codec_too_many")
        access_list.append((address, [Hash32(key) for key in keys]))
    return access_list


def _key(keys: Sequence[Hash32], index: int, types: tuple[int, ...], zeros: int = 0) -> Hash32:
    """The key at `index`, which must be there, of one of these types, with `zeros` zero bytes after the type."""
    wanted = " or ".join(f"0x{kind:02x}" for kind in types)
    if index >= len(keys):
        raise MessageRefused(
            f"the access list ends where a key of type {wanted} must follow", code="access_list_incomplete", index=index
        )
    key = keys[index]
    if len(key) != 32:
        raise MessageRefused(f"key {index} has {len(key)} bytes, not 32", code="access_list_key_size", index=index)
    if key[0] not in types:
        raise MessageRefused(
            f"key {index} has type 0x{key[0]:02x} where {wanted} must stand", code="access_list_key_type", index=index
        )
    if any(key[1 : 1 + zeros]):
        raise MessageRefused(
            f"key {index}: the {zeros} bytes after its type must be zero", code="access_list_padding", index=index
        )
    return key
