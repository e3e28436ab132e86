"""Frames: the pieces of channels that one batcher transaction (or blob) carries. Pure.

    data  = 0x00 ++ frame ++ frame ...                      at least one frame, nothing left over
    frame = channel id (16) ++ number (u16) ++ length (u32) ++ data ++ is last (0 or 1)

Frames whose data does not decode as a whole are ignored as a whole. Within one transaction, frames that cannot belong
to a channel in order are pruned before channels see them (Holocene): `prune`.

Source: OP Stack specs, derivation (batcher transaction format, frame format) and Holocene derivation (frame queue).
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from plait.errors import CodecError
from plait.limits import FRAME_DATA_BYTES_MAX, FRAMES_PER_CHANNEL_MAX

DERIVATION_VERSION: Final = 0x00
"""First byte of batcher data. Version 1 is a commitment to data that is kept elsewhere: not read here."""
CHANNEL_ID_BYTES: Final = 16
FRAME_OVERHEAD_BYTES: Final = CHANNEL_ID_BYTES + 2 + 4 + 1


class Frame(msgspec.Struct, frozen=True):
    """One piece of a channel."""

    channel_id: bytes
    number: int
    data: bytes
    is_last: bool


def encode(frames: Iterable[Frame]) -> bytes:
    """Data of a batcher transaction or blob.

    Raises:
        CodecError: `frame_malformed`: an id, number or length that the format has no room for, or no frame.
    """
    parts = [bytes((DERIVATION_VERSION,))]
    for frame in frames:
        if len(frame.channel_id) != CHANNEL_ID_BYTES:
            raise _malformed(f"a channel id has {CHANNEL_ID_BYTES} bytes, not {len(frame.channel_id)}")
        if not 0 <= frame.number < FRAMES_PER_CHANNEL_MAX:
            raise _malformed(
                f"a channel has at most {FRAMES_PER_CHANNEL_MAX} frames; there is no number {frame.number}"
            )
        if len(frame.data) > FRAME_DATA_BYTES_MAX:
            raise _malformed(f"a frame has at most {FRAME_DATA_BYTES_MAX} bytes of data, not {len(frame.data)}")
        parts += (
            frame.channel_id,
            frame.number.to_bytes(2, "big"),
            len(frame.data).to_bytes(4, "big"),
            frame.data,
            b"\x01" if frame.is_last else b"\x00",
        )
    if len(parts) == 1:
        raise _malformed("there is no frame")
    return b"".join(parts)


def decode(data: bytes) -> tuple[Frame, ...]:
    """Frames of a batcher transaction's or blob's data, all or none.

    Raises:
        CodecError: `frame_malformed`: another version, a frame cut off or too long, a last byte that is neither 0 nor
            1, or no frame.
    """
    if not data:
        raise _malformed("the data is empty")
    if data[0] != DERIVATION_VERSION:
        raise _malformed(f"version {data[0]} is not known", version=data[0])
    frames: list[Frame] = []
    position, end = 1, len(data)
    while position < end:
        start = position + FRAME_OVERHEAD_BYTES - 1
        if start >= end:
            raise _malformed(f"frame {len(frames)} is cut off", offset=position)
        length = int.from_bytes(data[position + 18 : start], "big")
        stop = start + length
        if length > FRAME_DATA_BYTES_MAX or stop >= end:
            raise _malformed(
                f"frame {len(frames)} has a length of {length}, more than there may be or is", offset=position
            )
        if data[stop] > 1:
            raise _malformed(f"frame {len(frames)} is neither last nor not: {data[stop]}", offset=stop)
        number = int.from_bytes(data[position + 16 : position + 18], "big")
        frames.append(Frame(data[position : position + 16], number, data[start:stop], data[stop] == 1))
        position = stop + 1
    if not frames:
        raise _malformed("there is no frame")
    return tuple(frames)


def prune(frames: Sequence[Frame]) -> list[Frame]:
    """What is left of queued frames when those go that cannot be read in order.

    A frame after the last one of its channel, or with a number other than the next, goes; a frame 0 of another channel
    discards the frames of an unfinished channel before it; any other frame of another channel goes itself.
    """
    kept: list[Frame] = []
    for frame in frames:
        while kept:
            before = kept[-1]
            if before.channel_id == frame.channel_id:
                if before.is_last or frame.number != before.number + 1:
                    break
            elif frame.number != 0:
                break
            elif not before.is_last:
                kept.pop()  # of a channel that another one interrupts; what was before it is compared next
                continue
            kept.append(frame)
            break
        else:
            kept.append(frame)
    return kept


def _malformed(problem: str, **fields: int) -> CodecError:
    return CodecError(f"batcher data: {problem}", code="frame_malformed", **fields)
