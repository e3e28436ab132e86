"""What a sealed block puts into a batch: its users' transactions and where it belongs. Pure.

A block as it is hashed is rlp[header, transactions, uncles, withdrawals] (Yellow Paper, EIP-4895); its L1 origin stands
in its first transaction, the L1-attributes deposit. Deposits go into no batch: they follow from L1.
"""

from typing import Final

import msgspec

from plait.derivation.batches import SingularBatch
from plait.derivation.l1_info import decode_l1_attributes
from plait.derivation.span_transactions import read_item
from plait.errors import CodecError
from plait.native import keccak256
from plait.types import BlockNumber, Gas, Hash32, Seconds

_DEPOSIT: Final = 0x7E
_TIMESTAMP_FIELD: Final = 11
"""Place of the timestamp in a header; the parent's hash is the first field, the number the ninth."""
_NUMBER_FIELD: Final = 8
_GAS_LIMIT_FIELD: Final = 9
_EXTRA_DATA_FIELD: Final = 12
_BLOCK_OVERHEAD_BYTES: Final = 70
"""What an empty block takes in a batch, about."""


class BatchBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed block as the batcher sees it."""

    number: BlockNumber
    hash: Hash32
    gas_limit: Gas
    sequence_number: int
    """Of its L1 origin's blocks, from 0."""
    batch: SingularBatch

    @property
    def data_bytes(self) -> int:
        """What it puts into a batch before compression."""
        return _BLOCK_OVERHEAD_BYTES + sum(map(len, self.batch.transactions))


def batch_block(raw: bytes) -> BatchBlock:
    """Reads a sealed block.

    Args:
        raw: as `Rollup.raw_block` gives it.

    Raises:
        CodecError: `batch_malformed`: it is no block of an OP Stack rollup.
    """
    _, header_item, stop = read_item(raw, 0, len(raw))
    _, header_start, header_stop = read_item(raw, header_item, stop)
    header = _header_fields(raw, header_start, header_stop)
    transactions = raw_transactions(raw)
    if not transactions:
        raise CodecError("a block without the L1-attributes deposit is of no OP Stack rollup", code="batch_malformed")
    users = [one for one in transactions if one[0] != _DEPOSIT]
    origin = decode_l1_attributes(transactions[0])
    return BatchBlock(
        number=BlockNumber(int.from_bytes(header[_NUMBER_FIELD], "big")),
        hash=Hash32(keccak256(raw[header_item:header_stop])),
        gas_limit=Gas(int.from_bytes(header[_GAS_LIMIT_FIELD], "big")),
        sequence_number=origin.sequence_number,
        batch=SingularBatch(
            parent_hash=Hash32(header[0]),
            epoch_number=origin.number,
            epoch_hash=origin.hash,
            timestamp=Seconds(int.from_bytes(header[_TIMESTAMP_FIELD], "big")),
            transactions=tuple(users),
        ),
    )


def extra_data(raw: bytes) -> bytes:
    """Extra data of a block's header: the base fee's rule since Holocene. Raises CodecError as `batch_block`."""
    _, start, stop = read_item(raw, 0, len(raw))
    _, header_start, header_stop = read_item(raw, start, stop)
    return _header_fields(raw, header_start, header_stop)[_EXTRA_DATA_FIELD]


def raw_transactions(raw: bytes) -> list[bytes]:
    """All transactions of a block in their order, deposits included. Raises CodecError as `batch_block`."""
    _, start, stop = read_item(raw, 0, len(raw))
    _, _, position = read_item(raw, start, stop)
    is_list, position, end = read_item(raw, position, stop)
    if not is_list:
        raise CodecError("a block's transactions are a list", code="batch_malformed")
    found: list[bytes] = []
    while position < end:
        legacy, payload, after = read_item(raw, position, end)
        if after == payload:
            raise CodecError("a transaction is empty", code="batch_malformed")
        found.append(raw[position:after] if legacy else raw[payload:after])
        position = after
    return found


def _header_fields(raw: bytes, position: int, end: int) -> list[bytes]:
    fields: list[bytes] = []
    while position < end and len(fields) <= _EXTRA_DATA_FIELD:
        _, start, stop = read_item(raw, position, end)
        fields.append(raw[start:stop])
        position = stop
    if len(fields) <= _EXTRA_DATA_FIELD:
        raise CodecError("a header is cut off", code="batch_malformed")
    return fields
