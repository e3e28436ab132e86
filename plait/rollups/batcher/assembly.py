"""Channels of several rollups to the L1 transactions of one posting. Pure.

    part        a rollup's blocks of the range, compressed as one channel
    carrier     what holds frames: the calldata of a transaction, or one blob
Channels go one after the other, each complete before the next begins: op-node reads one channel at a time, and drops
those of other rollups as a whole. A channel that does not fit into the rest of a carrier goes on in the next one; the
transactions of a posting have consecutive nonces, so L1 keeps their order.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from plait.derivation.blobs import BLOB_DATA_BYTES_MAX, encode_blob
from plait.derivation.channels import BatchKind, ChannelBuilder, Compression
from plait.derivation.frames import FRAME_OVERHEAD_BYTES, Frame
from plait.derivation.frames import encode as encode_frames
from plait.errors import CodecError
from plait.limits import CHANNEL_RLP_BYTES_MAX, FRAME_DATA_BYTES_MAX
from plait.rollups.batcher.blocks import BatchBlock
from plait.rollups.batcher.journal import Range
from plait.rollups.batcher.l1_transactions import Content
from plait.types import Address, RollupId, Seconds

CarrierKind = Literal["calldata", "blob"]

_FRAME_DATA_BYTES_MIN: Final = 256
"""Less of a channel than this is not worth a frame's overhead at the end of a carrier."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """How batches go to L1."""

    carrier: CarrierKind = "calldata"
    batch: BatchKind = "span"
    compression: Compression = "brotli"
    transaction_bytes_max: int = 120_000
    """Calldata of one transaction; pools take 128 KiB with everything around it."""
    blobs_per_transaction: int = 6
    """What a transaction may hold since Osaka."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup's channel of one posting."""

    rollup_id: RollupId
    channel_id: bytes
    data: bytes
    """Compressed."""
    stream_bytes: int
    first: BatchBlock
    last: BatchBlock
    transactions: int


def make_part(
    rollup_id: RollupId, blocks: Sequence[BatchBlock], *, channel_id: bytes, genesis_time_s: Seconds, format_: Format
) -> Part:
    """Compresses a rollup's blocks into one channel.

    Args:
        rollup_id: the rollup; its chain id.
        blocks: consecutive, at least one.
        channel_id: 16 bytes that no other channel has.
        genesis_time_s: of the rollup's genesis block.
        format_: kind of batch and compression.

    Raises:
        CodecError: blocks that do not follow each other, or that no channel has room for.
    """
    builder = ChannelBuilder(
        channel_id=channel_id,
        chain_id=rollup_id,
        genesis_time_s=genesis_time_s,
        target_bytes=CHANNEL_RLP_BYTES_MAX,
        kind=format_.batch,
        compression=format_.compression,
    )
    before: BatchBlock | None = None
    for block in blocks:
        if before is not None and block.batch.parent_hash != before.hash:
            raise CodecError(f"block {block.number} does not follow block {before.number}", code="batch_malformed")
        if not builder.add(block.batch, block.sequence_number):
            raise CodecError("the blocks are more than a channel has room for", code="channel_malformed")
        before = block
    return Part(
        rollup_id=rollup_id,
        channel_id=channel_id,
        data=builder.close(),
        stream_bytes=builder.stream_bytes,
        first=blocks[0],
        last=blocks[-1],
        transactions=builder.transaction_count,
    )


def ranges_of(parts: Sequence[Part]) -> tuple[Range, ...]:
    """What the journal keeps of parts."""
    return tuple(
        Range(
            rollup_id=part.rollup_id,
            first=part.first.number,
            last=part.last.number,
            last_hash=part.last.hash,
            bytes=len(part.data) + FRAME_OVERHEAD_BYTES,
        )
        for part in parts
    )


def contents(parts: Sequence[Part], *, l1_chain_id: int, inbox: Address, format_: Format) -> list[Content]:
    """The L1 transactions of one posting, in their order.

    Args:
        parts: channels, in the order in which they go.
        l1_chain_id: of L1.
        inbox: address that all the rollups read.
        format_: what carries the frames.
    """
    if format_.carrier == "calldata":
        datas = carry(parts, format_.transaction_bytes_max)
        return [Content(chain_id=l1_chain_id, to=inbox, data=data) for data in datas]
    blobs = [encode_blob(data) for data in carry(parts, BLOB_DATA_BYTES_MAX)]
    step = format_.blobs_per_transaction
    return [
        Content(chain_id=l1_chain_id, to=inbox, blobs=tuple(blobs[start : start + step]))
        for start in range(0, len(blobs), step)
    ]


def carry(parts: Sequence[Part], carrier_bytes: int) -> list[bytes]:
    """Batcher data of each carrier: channels cut into frames so that every carrier but the last is full, about."""
    carriers: list[list[Frame]] = [[]]
    room = carrier_bytes - 1  # the version byte
    for part in parts:
        position = number = 0
        while position < len(part.data):
            rest = len(part.data) - position
            if room < FRAME_OVERHEAD_BYTES + min(rest, _FRAME_DATA_BYTES_MIN):
                carriers.append([])
                room = carrier_bytes - 1
            size = min(rest, room - FRAME_OVERHEAD_BYTES, FRAME_DATA_BYTES_MAX)
            piece = part.data[position : position + size]
            position += size
            carriers[-1].append(Frame(part.channel_id, number, piece, position == len(part.data)))
            number += 1
            room -= FRAME_OVERHEAD_BYTES + size
    return [encode_frames(frames) for frames in carriers if frames]
