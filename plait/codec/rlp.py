"""Strict canonical RLP for Plait's own records: a writer, and a reader that walks a known shape.

RLP is Ethereum's encoding (Yellow Paper, appendix B); each value has exactly one encoding, and the reader refuses
every other: a single byte below 0x80 with a prefix, a long form for a short length, leading zeros of a length or an
integer, bytes left over. The reader never recurses and never builds an untyped tree: the caller says what comes next,
and every length is checked against what is left before anything is copied. Work and memory are linear in the input.

Level 0. Raises CodecError only. Checked against the `rlp` library in tests/property/codec.
"""

from collections.abc import Iterable

from plait.errors import CodecError

# Prefixes and small integers, made once: sequencing encodes tens of thousands of short strings per second.
_STRING = tuple(bytes((0x80 + length,)) if length < 56 else bytes((0xB8, length)) for length in range(256))
_LIST = tuple(bytes((0xC0 + length,)) if length < 56 else bytes((0xF8, length)) for length in range(256))
EMPTY_LIST = b"\xc0"
_UINT = (b"\x80", *(bytes((value,)) for value in range(1, 0x80)))


def encode_bytes(value: bytes) -> bytes:
    """RLP string."""
    length = len(value)
    if length < 256:
        if length == 1 and value[0] < 0x80:
            return value
        return _STRING[length] + value
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0xB7 + len(size),)) + size + value


def encode_uint(value: int) -> bytes:
    """RLP string of the shortest big-endian form; zero is the empty string. `value` must not be negative."""
    if 0 <= value < 0x80:
        return _UINT[value]
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return encode_bytes(data)


def encode_list(parts: Iterable[bytes]) -> bytes:
    """RLP list of parts that are encoded already."""
    payload = b"".join(parts)
    length = len(payload)
    if length < 256:
        return _LIST[length] + payload
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0xF7 + len(size),)) + size + payload


def encode_bytes_list(values: Iterable[bytes]) -> bytes:
    """RLP list of strings; the column form of many items."""
    return encode_list(map(encode_bytes, values))


class Reader:
    """Reads the values of one RLP list (or of a whole input) in order; `end` demands that nothing is left."""

    __slots__ = ("_data", "_end", "_position", "_what")

    def __init__(self, data: bytes, *, start: int = 0, end: int | None = None, what: str = "input") -> None:
        self._data = data
        self._position = start
        self._end = len(data) if end is None else end
        self._what = what

    def _fail(self, problem: str, code: str | None = None) -> CodecError:
        sentence = f"{self._what}: {problem} at byte {self._position}"
        return CodecError(sentence, code=code, what=self._what, offset=self._position)

    def _header(self) -> tuple[bool, int, int]:
        """Returns (is a list, start, end) of the next value's payload; the position is left where it is."""
        data, position, end = self._data, self._position, self._end
        if position >= end:
            raise self._fail("a value is missing")
        prefix = data[position]
        if prefix < 0x80:
            return False, position, position + 1
        is_list = prefix >= 0xC0
        base = 0xC0 if is_list else 0x80
        short = prefix - base
        if short < 56:
            start = position + 1
            stop = start + short
        else:
            size_bytes = short - 55
            start = position + 1 + size_bytes
            if start > end:
                raise self._fail("a length is cut off")
            length = int.from_bytes(data[position + 1 : start], "big")
            if data[position + 1] == 0 or length < 56:
                raise self._fail("a length is not in its shortest form")
            stop = start + length
        if stop > end:
            raise self._fail("a value is cut off")
        if prefix == 0x81 and data[start] < 0x80:
            raise self._fail("a single byte below 0x80 has a prefix")
        return is_list, start, stop

    def read_bytes(self, *, size: int | None = None, size_max: int | None = None) -> bytes:
        """Next value as a string of exactly `size` or at most `size_max` bytes.

        Raises:
            CodecError: it is a list, not canonical, cut off, or of another size.
        """
        is_list, start, stop = self._header()
        if is_list:
            raise self._fail("a string is expected, a list found")
        length = stop - start
        if size is not None and length != size:
            raise self._fail(f"{size} bytes are expected, {length} found")
        if size_max is not None and length > size_max:
            raise self._fail(f"at most {size_max} bytes are allowed, {length} found")
        self._position = stop
        return self._data[start:stop]

    def read_item(self) -> bytes:
        """Next value as it stands: a string's content, or a list with its prefix (a block's transactions are both).

        Raises:
            CodecError: not canonical or cut off.
        """
        before = self._position
        is_list, start, stop = self._header()
        self._position = stop
        return self._data[before if is_list else start : stop]

    def read_uint(self, maximum: int = 2**64 - 1) -> int:
        """Next value as an integer from 0 to `maximum` without leading zeros.

        Raises:
            CodecError: it is not a canonical integer or above `maximum`.
        """
        is_list, start, stop = self._header()
        if is_list:
            raise self._fail("an integer is expected, a list found")
        if stop > start and self._data[start] == 0:
            raise self._fail("an integer has a leading zero")
        if stop - start > 32:
            raise self._fail("an integer is longer than 32 bytes")
        value = int.from_bytes(self._data[start:stop], "big")
        if value > maximum:
            raise self._fail(f"an integer is above {maximum}")
        self._position = stop
        return value

    def read_list(self, what: str) -> "Reader":
        """Reader over the next value, which must be a list.

        Raises:
            CodecError: it is a string, not canonical or cut off.
        """
        is_list, start, stop = self._header()
        if not is_list:
            raise self._fail("a list is expected, a string found")
        self._position = stop
        return Reader(self._data, start=start, end=stop, what=what)

    def read_bytes_list(
        self, what: str, *, count_max: int, size: int | None = None, size_max: int = 2**32
    ) -> list[bytes]:
        """Next value as a list of strings: the fast path for many items.

        Raises:
            CodecError: `codec_too_many` for more than `count_max`; not canonical strings, or one of another size.
        """
        reader = self.read_list(what)
        data, position, end = reader._data, reader._position, reader._end
        out: list[bytes] = []
        append = out.append
        count = 0
        while position < end:
            prefix = data[position]
            reader._position = position
            if (
                0xB8 <= prefix <= 0xB9 and position + prefix - 0xB6 <= end
            ):  # one or two bytes of length: nearly every transaction
                start = position + prefix - 0xB6
                length = int.from_bytes(data[position + 1 : start], "big")
                stop = start + length
                if length < 56 or data[position + 1] == 0 or stop > end:
                    reader._header()
            else:
                is_list, start, stop = reader._header()
                if is_list:
                    raise reader._fail("a string is expected, a list found")
                length = stop - start
            count += 1
            if count > count_max:
                raise reader._fail(f"more than {count_max} entries", code="codec_too_many")
            if length > size_max or (size is not None and length != size):
                raise reader._fail(f"an entry of {length} bytes is not allowed")
            append(data[start:stop])
            position = stop
        return out

    @property
    def more(self) -> bool:
        """Whether a value is left."""
        return self._position < self._end

    def end(self) -> None:
        """Raises CodecError when bytes are left over."""
        if self._position != self._end:
            raise self._fail("bytes are left over")
