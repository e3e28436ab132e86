"""The few shapes of Solidity's ABI that calls of Plait's own L1 contracts need. Pure.

Specification
    A call is the first four bytes of keccak256 of the function's signature, then its arguments: words of 32 bytes, and
    for each argument of varying length its offset from the beginning of the arguments, with the content at the end.
"""

from collections.abc import Sequence
from typing import Final

from plait.l1.fields import malformed
from plait.native import keccak256
from plait.types import Address

WORD: Final = 32


class Tail(bytes):
    """Content of an argument of varying length, as it stands at the end."""


def selector(signature: str) -> bytes:
    """First four bytes of a call of `name(type,...)`."""
    return keccak256(signature.encode())[:4]


def word(value: int) -> bytes:
    """An unsigned integer. Raises OverflowError for one that is negative or above 256 bits."""
    return value.to_bytes(WORD, "big")


def padded(address: bytes) -> bytes:
    """An address as a word."""
    return address.rjust(WORD, b"\0")


def tail_bytes(data: bytes) -> Tail:
    """`bytes`: the length, then the content, filled up to whole words."""
    return Tail(word(len(data)) + data + bytes(-len(data) % WORD))


def arguments(parts: Sequence[bytes]) -> bytes:
    """Arguments, or the fields of a tuple: words, and a `Tail` for each of varying length."""
    offset = sum(WORD if isinstance(part, Tail) else len(part) for part in parts)
    head, tails = b"", b""
    for part in parts:
        if isinstance(part, Tail):
            head += word(offset + len(tails))
            tails += part
        else:
            head += part
    return head + tails


def words_of(data: bytes, count: int, what: str) -> list[int]:
    """The first `count` words of a result. Raises L1Refused `l1_block_malformed`: the contract is another one."""
    if len(data) < count * WORD:
        raise malformed(f"{what} has {len(data)} bytes, not {count * WORD}")
    return [int.from_bytes(data[at * WORD : (at + 1) * WORD], "big") for at in range(count)]


def address_of_word(value: int) -> Address:
    """An address that a word holds. Raises L1Refused `l1_block_malformed`."""
    if value >> 160:
        raise malformed("a word that is no address")
    return Address(value.to_bytes(20, "big"))
