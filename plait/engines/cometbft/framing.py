"""Framing of ABCI over a socket: each message is its length as an unsigned varint and then its bytes. Pure.

Source: CometBFT v0.38, spec/abci/abci++_client_server.md (socket protocol) and libs/protoio. Level 5.
"""

from plait.errors import CodecError
from plait.limits import ABCI_MESSAGE_BYTES_MAX

_LENGTH_BYTES_MAX = 5
"""A varint of five bytes reaches 2**35; lengths above ABCI_MESSAGE_BYTES_MAX are refused anyway."""


def frame(message: bytes) -> bytes:
    """A message with its length before it."""
    length = len(message)
    prefix = bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + message


class Deframer:
    """Cuts a stream of bytes into messages.

    Holds at most one incomplete message and whatever was fed beyond it; the caller bounds what it feeds.
    """

    def __init__(self, bytes_max: int = ABCI_MESSAGE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._begin = 0
        self._length = -1
        """Of the message whose length is known and whose bytes are not all there; -1 before its length is."""

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Adds bytes from the stream."""
        if self._begin and self._begin == len(self._buffer):
            self._buffer.clear()
            self._begin = 0
        self._buffer += data

    def pop(self) -> bytes | None:
        """The next whole message, or None until more is fed.

        Raises:
            CodecError: `frame_invalid` when the length is no varint, `frame_too_large` when it is above the bound.
        """
        if self._length < 0:
            self._length = self._read_length()
            if self._length < 0:
                return None
        end = self._begin + self._length
        if len(self._buffer) < end:
            return None
        message = bytes(memoryview(self._buffer)[self._begin : end])
        self._begin, self._length = end, -1
        if end == len(self._buffer) or end > self._bytes_max:
            del self._buffer[:end]
            self._begin = 0
        return message

    def _read_length(self) -> int:
        length = 0
        for place in range(_LENGTH_BYTES_MAX):
            at = self._begin + place
            if at >= len(self._buffer):
                return -1
            byte = self._buffer[at]
            length |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if length > self._bytes_max:
                    raise CodecError(
                        f"a message of {length} bytes; {self._bytes_max} are the most", code="frame_too_large"
                    )
                self._begin = at + 1
                return length
        raise CodecError("a message's length is not a varint of at most five bytes", code="frame_invalid")


__all__ = ["Deframer", "frame"]
