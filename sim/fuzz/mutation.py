"""Makes one input of others: by bytes, by blocks, by lengths, and by splicing. A function of the random source alone.

Besides what any fuzzer does there is one step of our own: prefixes of RLP, varints and little-endian lengths are where
decoders take decisions, so a byte is often replaced by one of their borders.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

BORDERS: Final = (0x00, 0x01, 0x7F, 0x80, 0x81, 0xB7, 0xB8, 0xBF, 0xC0, 0xC1, 0xF7, 0xF8, 0xFF)
TOKENS: Final = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"-1",
    b"0x",
    b"1e999",
    b"\\u0000",
    b"\xff\xff\xff\xff",
)
_STEPS_MAX: Final = 4


def mutated(source: Random, corpus: Sequence[bytes], size_max: int) -> bytes:
    """An input of at most `size_max` bytes, made of one or two of the corpus (which is not empty)."""
    data = bytearray(source.choice(corpus))
    for _ in range(source.randint(1, _STEPS_MAX)):
        _step(source, data, corpus)
    return bytes(data[:size_max])


def _step(source: Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    place = source.randrange(len(data) + 1)
    length = min(source.choice((1, 1, 2, 4, 8, 32, 200)), len(data) - place)
    match source.randrange(9):
        case 0 if place < len(data):
            data[place] ^= 1 << source.randrange(8)
        case 1 if place < len(data):
            data[place] = source.choice(BORDERS)
        case 2:
            data[place:place] = source.randbytes(source.choice((1, 2, 4, 20, 32)))
        case 3:
            del data[place : place + length]
        case 4:
            data[place:place] = data[place : place + length] * source.choice((1, 2, 50))
        case 5:
            del data[place:]
        case 6:
            data[place : place + length] = source.choice(TOKENS)
        case 7:
            other = source.choice(corpus)
            data[place:] = other[source.randrange(len(other) + 1) :]
        case _ if length:
            step = source.choice((1, -1, 256, -256))
            value = int.from_bytes(data[place : place + length], "big") + step
            data[place : place + length] = (value % (1 << 8 * length)).to_bytes(length, "big")
