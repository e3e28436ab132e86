"""Proof that a validator proposed two blocks in one round, as anyone may hand it to the ledger: the two proposals as
CometBFT's signer signs them, with their signatures.

Written from CometBFT's canonical proposal (proto/tendermint/types/canonical.proto, v0.38), apart from the ledger's
own reading of it.
"""

from plait.codec.rlp import encode_bytes, encode_list
from sim.economy import sign


def two_proposals(validator: int, chain_id: str, height: int, round_index: int, blocks: tuple[bytes, bytes]) -> bytes:
    """Payload of the evidence action.

    Args:
        validator: index of the node whose key signed.
        chain_id: CometBFT's name of the network.
        height: of the proposals.
        round_index: of the proposals.
        blocks: ids of 32 bytes.
    """
    signed = [sign_bytes(chain_id, height, round_index, block) for block in blocks]
    return encode_list(encode_bytes(part) for data in signed for part in (data, sign(validator, data)))


def sign_bytes(chain_id: str, height: int, round_index: int, block_id: bytes) -> bytes:
    """A canonical proposal behind its length."""
    parts = b"\x08\x20\x11" + height.to_bytes(8, "little")
    if round_index:
        parts += b"\x19" + round_index.to_bytes(8, "little")
    parts += b"\x20" + _varint(2**64 - 1)  # POL round -1: a new block
    parts += _field(5, _field(1, block_id) + _field(2, b"\x08\x01" + _field(2, block_id)))
    parts += _field(6, b"\x08" + _varint(1_790_000_000)) + _field(7, chain_id.encode())
    return _varint(len(parts)) + parts


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))
