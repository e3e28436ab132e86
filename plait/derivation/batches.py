"""Singular batches: one rollup block's transactions and where it belongs. Pure.

    batch = 0x00 ++ rlp([parent hash, epoch number, epoch hash, timestamp, [transaction, ...]])

The epoch is the block's L1 origin. Transactions are the users' raw ones: deposits follow from L1.

What derivation ignores is ignored here too: bytes after the list. So a batch that decodes has exactly one encoding
from here, but not every encoding of it came from here.

Source: OP Stack specs, derivation (batch format); op-node v1.16 for bytes left over.
"""

from typing import Final

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.errors import CodecError
from plait.limits import CHANNEL_RLP_BYTES_MAX, SPAN_BATCH_ELEMENTS_MAX
from plait.types import BlockNumber, Hash32, Seconds

SINGULAR_BATCH: Final = 0
SPAN_BATCH: Final = 1


class SingularBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What one block adds to what L1 says of it."""

    parent_hash: Hash32
    epoch_number: BlockNumber
    epoch_hash: Hash32
    timestamp: Seconds
    transactions: tuple[bytes, ...] = ()


def encode_singular(batch: SingularBatch) -> bytes:
    """Bytes of a batch, its type first."""
    return b"\x00" + encode_list(
        (
            encode_bytes(batch.parent_hash),
            encode_uint(batch.epoch_number),
            encode_bytes(batch.epoch_hash),
            encode_uint(batch.timestamp),
            encode_bytes_list(batch.transactions),
        )
    )


def decode_singular(data: bytes) -> SingularBatch:
    """Reads a batch, its type first.

    Raises:
        CodecError: `batch_malformed`: another type, or not the five fields in canonical RLP.
    """
    if not data or data[0] != SINGULAR_BATCH:
        raise CodecError("this is not a singular batch", code="batch_malformed")
    try:
        reader = Reader(data, start=1, what="singular batch").read_list("singular batch")
        parent_hash = Hash32(reader.read_bytes(size=32))
        epoch_number = BlockNumber(reader.read_uint())
        epoch_hash = Hash32(reader.read_bytes(size=32))
        timestamp = Seconds(reader.read_uint())
        transactions = reader.read_bytes_list(
            "transactions", count_max=SPAN_BATCH_ELEMENTS_MAX, size_max=CHANNEL_RLP_BYTES_MAX
        )
        reader.end()
    except CodecError as error:
        raise CodecError(error.message, code="batch_malformed", **error.fields) from error
    return SingularBatch(
        parent_hash=parent_hash,
        epoch_number=epoch_number,
        epoch_hash=epoch_hash,
        timestamp=timestamp,
        transactions=tuple(transactions),
    )
