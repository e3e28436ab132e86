"""Reads the batches of a channel, as far as it can be read. Pure.

    channel = zlib(stream)  or  0x01 ++ brotli(stream)
    stream  = rlp(batch) ++ rlp(batch) ++ ...

What stands before damage counts, so where a damaged stream ends decides what a chain is, and op-node decides that by
how its parts pass bytes to each other. This module passes them in the same pieces:
    - The decompressor gives a zlib stream in pieces of 32,768 bytes and a rest, a brotli stream in what each piece of
      4,095, then 32,768 bytes of input brings. A zlib stream that is damaged or cut off gives all it can; a damaged
      brotli stream nothing of the piece that is damaged. Bytes after the end of a zlib stream do not matter; after the
      end of a brotli stream they are damage.
      A zlib stream that ends with the mark of a flush (an empty stored block), as op-batcher's do, loses nothing.
    - A buffer of 4,096 bytes stands between; a longer read passes it by when it is empty. A read that passes it by and
      ends with the last byte before damage fails, though it has all it needs: the batch is lost.
    - A stream that is cut off between two batches ends there; that is no damage.

Reading is lazy: of a channel of which the first batch is refused no more is decompressed. Memory is that of the
channel, of the batch being read and of a piece.

One difference is known and left: of a zlib stream that is cut off within a block, op-node's decoder keeps back what the
last bits say when they are fewer than the mark of the block's end has. No batcher writes such a stream.

Source: OP Stack specs, derivation (channel format) and Fjord (brotli, bounds); op-node v1.16. Compared with op-node's
code in tests/property/derivation.
"""

import zlib
from collections.abc import Iterator
from typing import Final

import brotli

from plait.errors import CodecError
from plait.limits import CHANNEL_READ_BYTES, CHANNEL_RLP_BYTES_MAX

BROTLI_VERSION: Final = 0x01
_ZLIB_NIBBLES: Final = (8, 15)
_ZLIB_PIECE_BYTES: Final = 32_768
_FLUSH_MARK: Final = b"\x00\x00\xff\xff"
_BROTLI_FIRST_BYTES: Final = 4_095
_BROTLI_NEXT_BYTES: Final = 32_768
_BUFFER_BYTES: Final = 4_096

Piece = tuple[bytes, bool]
"""Decompressed bytes, and whether damage is met with the last of them."""


def read_batches(channel: bytes) -> Iterator[bytes]:
    """Typed batches of a channel, as far as it can be read.

    Raises:
        CodecError: `channel_malformed`, after the batches before it: the compression is not known, the stream is
            damaged or cut off, something in it is no RLP string, or it is too long.
    """
    stream = _Stream(_decompressed(channel))
    left = CHANNEL_RLP_BYTES_MAX
    while left and stream.begins_another():
        prefix = stream.take(1)
        if prefix[0] >= 0xC0:
            raise _malformed("a batch is a list")
        header_bytes, length = 1, prefix[0] - 0x80
        if prefix[0] < 0x80:
            header_bytes, length = 0, 1
        elif prefix[0] >= 0xB8:
            header_bytes += prefix[0] - 0xB7
            size = stream.take(header_bytes - 1)
            length = int.from_bytes(size, "big")
            if length < 56 or size[0] == 0:
                raise _malformed("a length is not in its shortest form")
        if header_bytes + length > left:
            raise _malformed(f"it has more than {CHANNEL_RLP_BYTES_MAX} bytes")
        batch = stream.take(length) if header_bytes else prefix
        if header_bytes and length == 1 and batch[0] < 0x80:
            raise _malformed("a single byte has a prefix")
        left -= header_bytes + length
        yield batch


class _CutOff(CodecError):
    """A stream that has no end, but no damage before it either."""


class _Stream:
    """A decompressed stream behind op-node's buffer."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._piece, self._damaged, self._position = b"", False, 0
        self._buffer, self._buffered_to = b"", 0

    def begins_another(self) -> bool:
        """Whether another batch begins. Raises CodecError for damage, unless the stream is only cut off."""
        try:
            return self.more()
        except _CutOff:
            return False

    def more(self) -> bool:
        """Whether a byte is left. Raises CodecError for damage instead."""
        if self._buffered_to < len(self._buffer):
            return True
        self._buffer, self._buffered_to = self._read(_BUFFER_BYTES), 0
        return bool(self._buffer)

    def take(self, size: int) -> bytes:
        """Exactly so many bytes. Raises CodecError when they are not there, or are lost with the damage behind them."""
        parts: list[bytes] = []
        while size:
            if self._buffered_to < len(self._buffer):
                part = self._buffer[self._buffered_to : self._buffered_to + size]
                self._buffered_to += len(part)
            elif size >= _BUFFER_BYTES:
                part = self._read(size)
                if self._damaged and self._position == len(self._piece):
                    next(self._pieces)  # raises what is wrong
            elif self.more():
                continue
            else:
                part = b""
            if not part:
                raise _malformed("a batch is cut off")
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read(self, size: int) -> bytes:
        """At most so many bytes of the current piece; none at the end of the stream."""
        if self._position == len(self._piece):
            self._piece, self._damaged = next(self._pieces, (b"", False))
            self._position = 0
        part = self._piece[self._position : self._position + size]
        self._position += len(part)
        return part


def _decompressed(channel: bytes) -> Iterator[Piece]:
    if not channel:
        raise _malformed("it is empty")
    if channel[0] & 0x0F in _ZLIB_NIBBLES:
        return _inflate(channel)
    if channel[0] == BROTLI_VERSION:
        return _unbrotli(channel)
    raise _malformed(f"its first byte {channel[0]} names no compression")


# ---------------------------------------------------------------- zlib
def _inflate(channel: bytes) -> Iterator[Piece]:
    """Pieces of a zlib stream; CodecError behind the last one when it is damaged or cut off."""
    decoder = zlib.decompressobj()
    made = bytearray()
    position = 0
    while position < len(channel) and not decoder.eof:
        data = channel[position : position + 4_096]
        position += len(data)
        while not decoder.eof:
            before = decoder.copy()
            room = _ZLIB_PIECE_BYTES - len(made)
            try:
                out = decoder.decompress(data, room)
            except zlib.error as error:
                made += _salvaged(before, data)
                yield from _pieces_before_damage(made)
                raise _malformed(f"its zlib stream is damaged: {error}") from error
            made += out
            data = decoder.unconsumed_tail
            if len(made) == _ZLIB_PIECE_BYTES:
                yield bytes(made), False
                made.clear()
            elif not data:
                break
    if not decoder.eof:
        if made and channel.endswith(_FLUSH_MARK):
            yield bytes(made), False
        else:
            yield from _pieces_before_damage(made)
        raise _cut_off("zlib")
    if made:
        yield bytes(made), False


def _pieces_before_damage(made: bytearray) -> Iterator[Piece]:
    while len(made) >= _ZLIB_PIECE_BYTES:
        yield bytes(made[:_ZLIB_PIECE_BYTES]), False
        del made[:_ZLIB_PIECE_BYTES]
    if made:
        yield bytes(made), True


def _salvaged(decoder: "zlib._Decompress", data: bytes) -> bytes:
    """What damaged data give up to the damage: the library keeps the output of a failed call to itself."""
    out = bytearray()
    try:
        for byte in data:
            rest = bytes((byte,))
            while True:
                made = decoder.decompress(rest, 1)
                out += made
                rest = decoder.unconsumed_tail
                if not made and not rest:
                    break
    except zlib.error:
        pass
    return bytes(out)


# ---------------------------------------------------------------- brotli
def _unbrotli(channel: bytes) -> Iterator[Piece]:
    """Pieces of a brotli stream; CodecError behind the last one when it is damaged, goes on, or is cut off."""
    decoder = brotli.Decompressor()
    position, size = 1, _BROTLI_FIRST_BYTES
    made = 0  # of the input at `position`
    try:
        while position < len(channel) and not decoder.is_finished():
            out = decoder.process(channel[position : position + size], output_buffer_limit=CHANNEL_READ_BYTES)
            made = len(out)
            if out:
                yield out, False
            while out or not decoder.can_accept_more_data():  # it keeps back what is beyond the limit
                out = decoder.process(b"", output_buffer_limit=CHANNEL_READ_BYTES)
                made += len(out)
                if out:
                    yield out, False
            position, size, made = position + size, _BROTLI_NEXT_BYTES, 0
    except brotli.error as error:
        rest = _up_to_excess(channel, position, size)[made:]
        if rest:
            yield rest, True
        raise _malformed(f"its brotli stream is damaged: {error}") from error
    if not decoder.is_finished():
        raise _cut_off("brotli")


def _up_to_excess(channel: bytes, position: int, size: int) -> bytes:
    """What the input at `position` gives when the stream ends within it; nothing when it is damaged instead.

    The library treats bytes after the end of a stream as damage and keeps the output of that call to itself.
    """
    decoder = brotli.Decompressor()
    out = bytearray()
    try:
        if position > 1:
            decoder.process(channel[1:position])
        for byte in channel[position : position + size]:
            out += decoder.process(bytes((byte,)))
            if decoder.is_finished():
                return bytes(out)
    except brotli.error:
        pass
    return b""


def _malformed(problem: str) -> CodecError:
    return CodecError(f"channel: {problem}", code="channel_malformed")


def _cut_off(compression: str) -> _CutOff:
    return _CutOff(f"channel: its {compression} stream is cut off", code="channel_malformed")
