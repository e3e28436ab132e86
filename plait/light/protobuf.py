"""The part of protobuf that CometBFT hashes and signs: deterministic encoding of known messages, nothing to decode.

proto3: a field with its zero value is left out, except a message that is embedded (gogoproto's non-nullable), which
stands with length 0. Negative integers are varints of 64 bits, ten bytes long.

Source: protobuf's encoding guide; CometBFT v0.38 spec/core/encoding.md. Pure.
"""

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_UINT64_MASK = 2**64 - 1
_SMALL = tuple(bytes((value,)) for value in range(0x80))
NANOSECONDS = 1_000_000_000


def varint(value: int) -> bytes:
    """Unsigned LEB128 of a 64-bit integer; a negative one in two's complement."""
    if 0 <= value < 0x80:  # nearly all tags and lengths
        return _SMALL[value]
    value &= _UINT64_MASK
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def uint_field(number: int, value: int) -> bytes:
    """An integer or enum; nothing for 0."""
    return varint(number << 3 | _VARINT) + varint(value) if value else b""


def sfixed64_field(number: int, value: int) -> bytes:
    """A signed integer of eight bytes; nothing for 0."""
    return varint(number << 3 | _FIXED64) + (value & _UINT64_MASK).to_bytes(8, "little") if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """Bytes or a UTF-8 string; nothing when empty."""
    return message_field(number, value) if value else b""


def message_field(number: int, value: bytes) -> bytes:
    """An embedded message, also an empty one."""
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def delimited(message: bytes) -> bytes:
    """A message behind its own length, as CometBFT signs it."""
    return varint(len(message)) + message


def timestamp(time_ns: int) -> bytes:
    """google.protobuf.Timestamp of nanoseconds since the Unix epoch; those before it round down to the second."""
    seconds, nanos = divmod(time_ns, NANOSECONDS)
    return uint_field(1, seconds) + uint_field(2, nanos)
