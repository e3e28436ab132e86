"""Channels: a compressed stream of batches, cut into frames. Pure.

    channel = zlib(stream)  or  0x01 ++ brotli(stream)
    stream  = rlp(batch) ++ rlp(batch) ++ ...               each an RLP string that holds a typed batch

A zlib stream is known by the low four bits of its first byte (8 or 15), brotli by its version byte 1. Of a channel at
most CHANNEL_RLP_BYTES_MAX decompressed bytes count: a batch that would end beyond them is not read, nor what follows.

    ChannelBuilder   blocks -> channel -> frames, with a bound on the compressed size
    ChannelAssembler frames -> channels, one at a time and in strict order (Holocene)

Reading is in plait.derivation.channel_reading.

Source: OP Stack specs, derivation (channel format), Fjord (brotli, bounds), Granite (timeout), Holocene (order).
"""

import zlib
from typing import Final, Literal

import brotli
import msgspec

from plait.codec.rlp import encode_bytes
from plait.derivation.batches import SingularBatch, encode_singular
from plait.derivation.channel_reading import BROTLI_VERSION
from plait.derivation.frames import CHANNEL_ID_BYTES, FRAME_OVERHEAD_BYTES, Frame
from plait.derivation.rollup_config import CHANNEL_TIMEOUT_GRANITE
from plait.derivation.span_batches import SpanBuilder
from plait.errors import CodecError
from plait.limits import CHANNEL_RLP_BYTES_MAX, FRAME_DATA_BYTES_MAX, FRAMES_PER_CHANNEL_MAX
from plait.types import BlockNumber, Seconds

Compression = Literal["zlib", "brotli"]
BatchKind = Literal["singular", "span"]

ZLIB_LEVEL: Final = 9
BROTLI_QUALITY: Final = 10
"""op-batcher's choice for brotli10."""
_REST_SHARE: Final = 64
"""A channel is full when less than this part of its target is left."""
_FRAME_BYTES_EXTRA: Final = 200
"""What each frame counts beyond its data against a channel's size; part of the protocol."""


# ---------------------------------------------------------------- writing
class ChannelBuilder:
    """A channel that grows by one block at a time up to a compressed size.

    `add` compresses only when the channel could be full: as long as what was compressed at last and what came since
    stay below the target together, it cannot be.
    """

    def __init__(
        self,
        *,
        channel_id: bytes,
        chain_id: int,
        genesis_time_s: Seconds,
        target_bytes: int,
        kind: BatchKind = "span",
        compression: Compression = "brotli",
    ) -> None:
        """An empty channel.

        Args:
            channel_id: 16 bytes that no other channel in flight has.
            chain_id: of the rollup.
            genesis_time_s: of the rollup's genesis block.
            target_bytes: compressed bytes at most; the first block is taken whatever its size.
            kind: of its batches.
            compression: of the stream.
        """
        if len(channel_id) != CHANNEL_ID_BYTES:
            raise CodecError(f"a channel id has {CHANNEL_ID_BYTES} bytes", code="channel_malformed")
        self.channel_id = channel_id
        self.block_count = 0
        self.transaction_count = 0
        self._target_bytes = target_bytes
        self._compression: Compression = compression
        self._span = SpanBuilder(genesis_time_s=genesis_time_s, chain_id=chain_id) if kind == "span" else None
        self._stream = bytearray()  # of singular batches
        self._compressed_bytes = self._compressed_of_bytes = 0
        self._closed: bytes | None = None

    @property
    def stream_bytes(self) -> int:
        """Bytes before compression, within a few."""
        return self._span.size if self._span is not None else len(self._stream)

    @property
    def compressed_bytes_bound(self) -> int:
        """Compressed bytes so far, at most: those when it was compressed at last and all that came since."""
        return self._compressed_bytes + self.stream_bytes - self._compressed_of_bytes + 1

    @property
    def full(self) -> bool:
        """Whether there is no more room, or the channel was closed: no more blocks are taken."""
        return self._closed is not None

    def add(self, batch: SingularBatch, sequence_number: int) -> bool:
        """Appends a block when there is room.

        Args:
            batch: of the block, which follows the one before.
            sequence_number: of the block in its epoch.

        Returns:
            False when the channel is full: the block is not in it.

        Raises:
            CodecError: `batch_malformed` or `span_transaction_malformed` of a block that a span batch has no room for.
        """
        if self._closed is not None:
            return False
        encoded = b"" if self._span is not None else encode_bytes(encode_singular(batch))
        growth = len(encoded) if self._span is None else 64 + sum(map(len, batch.transactions))
        near = self.compressed_bytes_bound + growth >= self._target_bytes
        near |= self.stream_bytes + growth + 64 > CHANNEL_RLP_BYTES_MAX
        before = self._encode() if near and self.block_count else b""
        if self._span is not None:
            self._span.add(batch, begins_epoch=sequence_number == 0)
        else:
            self._stream += encoded
        if near and not self._fits(before):
            return False
        self.block_count += 1
        self.transaction_count += len(batch.transactions)
        return True

    def _fits(self, before: bytes) -> bool:
        """Compresses; when the channel is too large with its last block, closes it without."""
        stream = self._encode()
        compressed = compress(stream, self._compression)
        self._compressed_bytes, self._compressed_of_bytes = len(compressed), self.stream_bytes
        too_large = len(compressed) > self._target_bytes or len(stream) > CHANNEL_RLP_BYTES_MAX
        if too_large and self.block_count:
            self._closed = compress(before, self._compression)
            return False
        # One block alone cannot be taken out; and what is left of a channel is not worth compressing it once more for.
        if too_large or len(compressed) > self._target_bytes - self._target_bytes // _REST_SHARE:
            self._closed = compressed
        return True

    def _encode(self) -> bytes:
        return encode_bytes(self._span.encode()) if self._span is not None else bytes(self._stream)

    def close(self) -> bytes:
        """The compressed channel. No block is taken after it. Raises CodecError `channel_malformed` without a block."""
        if not self.block_count:
            raise CodecError("a channel has at least one block", code="channel_malformed")
        if self._closed is None:
            self._closed = compress(self._encode(), self._compression)
        return self._closed

    def frames(self, frame_bytes_max: int) -> list[Frame]:
        """Closes the channel and cuts it into frames of at most so many bytes each, their overhead included."""
        return cut(self.channel_id, self.close(), frame_bytes_max)


def compress(stream: bytes, compression: Compression) -> bytes:
    """A channel of a stream of RLP strings."""
    if compression == "zlib":
        return zlib.compress(stream, ZLIB_LEVEL)
    compressed: bytes = brotli.compress(stream, quality=BROTLI_QUALITY)
    return bytes((BROTLI_VERSION,)) + compressed


def cut(channel_id: bytes, channel: bytes, frame_bytes_max: int) -> list[Frame]:
    """Frames of a channel.

    Args:
        channel_id: 16 bytes.
        channel: compressed.
        frame_bytes_max: bytes of one frame with its overhead of FRAME_OVERHEAD_BYTES.

    Raises:
        CodecError: `channel_malformed`: more frames than there are numbers.
    """
    size = min(frame_bytes_max - FRAME_OVERHEAD_BYTES, FRAME_DATA_BYTES_MAX)
    if size <= 0 or len(channel) > size * FRAMES_PER_CHANNEL_MAX:
        raise CodecError(
            f"{len(channel)} bytes do not fit into {FRAMES_PER_CHANNEL_MAX} frames of {frame_bytes_max} bytes",
            code="channel_malformed",
        )
    starts = range(0, max(len(channel), 1), size)
    return [
        Frame(channel_id, number, channel[start : start + size], start == starts[-1])
        for number, start in enumerate(starts)
    ]


# ---------------------------------------------------------------- assembling
class Assembly(msgspec.Struct, frozen=True):
    """A channel in the making."""

    channel_id: bytes
    opened_at: BlockNumber
    """L1 block of its first frame."""
    frames: tuple[bytes, ...] = ()
    size: int = 0


class ChannelAssembler:
    """Frames in, complete channels out: one channel at a time, in strict order.

    A frame 0 opens a channel and discards one that is not finished. A frame that is not the next of the open channel is
    dropped. A channel that is open for more than CHANNEL_TIMEOUT_GRANITE L1 blocks is discarded.
    """

    def __init__(self) -> None:
        self._open: Assembly | None = None

    def reset(self) -> None:
        """Discards the open channel."""
        self._open = None

    def expire(self, l1_number: BlockNumber) -> bool:
        """Discards the open channel when it timed out at this L1 block; whether it did."""
        if self._open is None or self._open.opened_at + CHANNEL_TIMEOUT_GRANITE >= l1_number:
            return False
        self._open = None
        return True

    def add(self, frame: Frame, l1_number: BlockNumber) -> bytes | None:
        """Takes a frame of an L1 block.

        Returns:
            The channel when this was its last frame.

        Raises:
            CodecError: `channel_out_of_order`: the frame was dropped; `channel_malformed`: the channel is larger than
                CHANNEL_RLP_BYTES_MAX and was discarded.
        """
        if frame.number == 0:
            self._open = Assembly(frame.channel_id, l1_number)
        channel = self._open
        if channel is None or channel.channel_id != frame.channel_id or frame.number != len(channel.frames):
            raise CodecError(
                f"frame {frame.number} of channel 0x{frame.channel_id.hex()} is not the one that comes next",
                code="channel_out_of_order",
                number=frame.number,
            )
        size = channel.size + len(frame.data) + _FRAME_BYTES_EXTRA
        if size > CHANNEL_RLP_BYTES_MAX:
            self._open = None
            raise CodecError(f"a channel has more than {CHANNEL_RLP_BYTES_MAX} bytes", code="channel_malformed")
        frames = (*channel.frames, frame.data)
        if frame.is_last:
            self._open = None
            return b"".join(frames)
        self._open = msgspec.structs.replace(channel, frames=frames, size=size)
        return None
