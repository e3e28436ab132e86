"""Root of the Merkle-Patricia trie whose keys are the RLP of positions: what commits a block to its transactions,
receipts and withdrawals.

Source: Yellow Paper, appendix D and section 4.3.2. The trie is never stored, so it is folded up from its leaves: work
is linear in the bytes of the values. Level 1, pure.
"""

from collections.abc import Sequence
from typing import Final

from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.native import keccak256

EMPTY_ROOT: Final = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
"""keccak256(rlp(""))."""

_Entry = tuple[tuple[int, ...], bytes]


def ordered_root(values: Sequence[bytes]) -> bytes:
    """32 bytes over values in their order; `EMPTY_ROOT` without any."""
    if not values:
        return EMPTY_ROOT
    entries = sorted((_nibbles(encode_uint(position)), value) for position, value in enumerate(values))
    return keccak256(_node(entries, 0))


def ordered_proof(values: Sequence[bytes], position: int) -> list[bytes]:
    """Nodes from the root down to the value at `position`, without those that lie within their parent.

    Raises:
        IndexError: there is no value at `position`.
    """
    if not 0 <= position < len(values):
        raise IndexError(f"value {position} of {len(values)}")
    entries = sorted((_nibbles(encode_uint(at)), value) for at, value in enumerate(values))
    key = _nibbles(encode_uint(position))
    nodes: list[bytes] = []
    depth = 0
    while True:
        node = _node(entries, depth)
        if not nodes or len(node) >= 32:
            nodes.append(node)
        if len(entries) == 1:
            return nodes
        first, last = entries[0][0], entries[-1][0]
        shared = depth
        while shared < min(len(first), len(last)) and first[shared] == last[shared]:
            shared += 1
        if shared == depth:
            entries = [entry for entry in entries if entry[0][depth] == key[depth]]
            shared += 1
        depth = shared


def _nibbles(key: bytes) -> tuple[int, ...]:
    return tuple(half for byte in key for half in (byte >> 4, byte & 15))


def _node(entries: Sequence[_Entry], depth: int) -> bytes:
    """RLP of the node that holds entries which agree in their first `depth` nibbles, sorted by key."""
    first = entries[0][0]
    if len(entries) == 1:
        return encode_list((encode_bytes(_compact(first[depth:], leaf=True)), encode_bytes(entries[0][1])))
    last = entries[-1][0]
    shared = depth
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        child = _reference(_node(entries, shared))
        return encode_list((encode_bytes(_compact(first[depth:shared], leaf=False)), child))
    slots = [b"\x80"] * 17
    start = 0
    for nibble in range(16):
        end = start
        while end < len(entries) and entries[end][0][depth] == nibble:
            end += 1
        if end > start:
            slots[nibble] = _reference(_node(entries[start:end], depth + 1))
        start = end
    return encode_list(slots)


def _reference(node: bytes) -> bytes:
    """How a parent names a child: by itself below 32 bytes, else by its hash."""
    return node if len(node) < 32 else encode_bytes(keccak256(node))


def _compact(nibbles: tuple[int, ...], *, leaf: bool) -> bytes:
    """Hex-prefix encoding of a path (Yellow Paper, appendix C)."""
    flag = 2 * leaf + len(nibbles) % 2
    padded = (flag, *nibbles) if len(nibbles) % 2 else (flag, 0, *nibbles)
    return bytes(padded[at] << 4 | padded[at + 1] for at in range(0, len(padded), 2))
