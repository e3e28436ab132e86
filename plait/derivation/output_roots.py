"""Output roots and super roots: what withdrawals and fault proofs of the OP Stack commit to.

Specification (OP Stack specs: proposals "L2 Output Commitment", fault-proof/stage-one "Super root";
op-node v1.16.11 op-service/eth/{output,super_root}.go)
    output root V0  keccak(32 zero bytes ++ state root ++ storage root of L2ToL1MessagePasser ++ block hash); from
                    Isthmus on the second root is the header's withdrawals root
    super root V1   keccak(0x01 ++ u64 timestamp ++ per chain, by rising id: u256 chain id ++ output root), the output
                    root of each chain's last block whose timestamp is not later
Imports: plait.types, plait.errors, plait.limits, plait.native (Keccak-256). Pure.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from plait.errors import CodecError
from plait.limits import SUPER_ROOT_CHAINS_MAX
from plait.native import keccak256
from plait.types import ChainId, Hash32, Seconds

OUTPUT_VERSION_V0: Final = bytes(32)
SUPER_ROOT_VERSION_V1: Final = 1
_CHAIN_BYTES: Final = 64
_HEAD_BYTES: Final = 9


class SuperV1(msgspec.Struct, frozen=True):
    """What a super root is the hash of: the output root of every chain at one timestamp, by rising chain id."""

    timestamp: Seconds
    outputs: tuple[tuple[ChainId, Hash32], ...]


def encode_output_v0(state_root: Hash32, withdrawals_root: Hash32, block_hash: Hash32) -> bytes:
    """The 128 bytes that an output root is the hash of."""
    return OUTPUT_VERSION_V0 + state_root + withdrawals_root + block_hash


def output_root_v0(state_root: Hash32, withdrawals_root: Hash32, block_hash: Hash32) -> Hash32:
    """The output root of a block.

    Args:
        state_root: of its header.
        withdrawals_root: of its header from Isthmus on; before, the storage root of L2ToL1MessagePasser after it.
        block_hash: of its header.
    """
    return Hash32(keccak256(encode_output_v0(state_root, withdrawals_root, block_hash)))


def encode_super_v1(timestamp: Seconds, outputs: Sequence[tuple[ChainId, Hash32]]) -> bytes:
    """The bytes that a super root is the hash of; `outputs` in any order.

    Raises:
        CodecError: `super_root_malformed`, no chain, more than SUPER_ROOT_CHAINS_MAX, or one twice.
    """
    chains = sorted(outputs)
    if not 0 < len(chains) <= SUPER_ROOT_CHAINS_MAX or len({chain_id for chain_id, _root in chains}) != len(chains):
        raise _malformed(f"it is about 1 to {SUPER_ROOT_CHAINS_MAX} different chains")
    try:
        head = bytes([SUPER_ROOT_VERSION_V1]) + timestamp.to_bytes(8, "big")
        return head + b"".join(chain_id.to_bytes(32, "big") + root for chain_id, root in chains)
    except OverflowError:
        raise _malformed("its timestamp has 64 bits and a chain id 256") from None


def super_root_v1(timestamp: Seconds, outputs: Sequence[tuple[ChainId, Hash32]]) -> Hash32:
    """The super root of chains at a timestamp. Raises CodecError `super_root_malformed` as `encode_super_v1`."""
    return Hash32(keccak256(encode_super_v1(timestamp, outputs)))


def decode_super_v1(data: bytes) -> SuperV1:
    """The reverse of `encode_super_v1`.

    Raises:
        CodecError: `super_root_malformed`: another version, no chain, an incomplete one, or chains that do not rise.
    """
    if not data or data[0] != SUPER_ROOT_VERSION_V1:
        raise _malformed("its version is not 1")
    body = data[_HEAD_BYTES:]
    if not body or len(body) % _CHAIN_BYTES or len(body) > SUPER_ROOT_CHAINS_MAX * _CHAIN_BYTES:
        raise _malformed(f"it has no whole number of chains from 1 to {SUPER_ROOT_CHAINS_MAX}")
    outputs = tuple(
        (ChainId(int.from_bytes(body[at : at + 32], "big")), Hash32(body[at + 32 : at + 64]))
        for at in range(0, len(body), _CHAIN_BYTES)
    )
    decoded = SuperV1(Seconds(int.from_bytes(data[1:_HEAD_BYTES], "big")), outputs)
    if encode_super_v1(decoded.timestamp, outputs) != data:
        raise _malformed("its chains do not rise")
    return decoded


def _malformed(reason: str) -> CodecError:
    return CodecError(f"This is no super root: {reason}.", code="super_root_malformed", reason=reason)
