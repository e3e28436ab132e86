"""What goes beside a blob transaction: KZG commitments and proofs, in both forms that networks take. Pure.

Specification
    version 0   one proof per blob: rlp parts blobs, commitments, proofs (EIP-4844)
    version 1   128 cell proofs per blob: rlp parts 1, blobs, commitments, proofs (EIP-7594, from Osaka on)
    versioned hash = 0x01 ++ sha256(commitment)[1:]
The mathematics runs in another process (`kzg`); calls block until it answers.
Imports: plait.codec, plait.types.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from plait.codec.rlp import encode_bytes_list, encode_uint
from plait.rollups.batcher.kzg import commit_and_prove
from plait.types import Hash32

SidecarVersion = Literal[0, 1]


class Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    """Commitments (48 bytes each) and proofs of a transaction's blobs."""

    version: SidecarVersion
    commitments: tuple[bytes, ...]
    proofs: tuple[bytes, ...]

    @property
    def versioned_hashes(self) -> tuple[Hash32, ...]:
        """What the transaction itself names its blobs by."""
        return tuple(versioned_hash(commitment) for commitment in self.commitments)

    def encoded_parts(self, blobs: Sequence[bytes]) -> list[bytes]:
        """RLP of what follows the signed fields in the network's form."""
        parts = [encode_bytes_list(blobs), encode_bytes_list(self.commitments), encode_bytes_list(self.proofs)]
        return parts if self.version == 0 else [encode_uint(1), *parts]


def versioned_hash(commitment: bytes) -> Hash32:
    """The name of a blob on L1."""
    return Hash32(b"\x01" + hashlib.sha256(commitment).digest()[1:])


def make_sidecar(blobs: Sequence[bytes], version: SidecarVersion) -> Sidecar:
    """Commits to blobs and proves them.

    Args:
        blobs: 131,072 bytes each, every 32 bytes a field element (below the BLS12-381 order).
        version: 0 or 1. About 10 ms per blob for 0, 250 ms for 1, and some seconds before the first.

    Raises:
        ValueError: a blob of another size or with a value that is no field element.
        Unavailable: `kzg_unavailable`.
    """
    made = [commit_and_prove(blob, 1 if version == 0 else 2) for blob in blobs]
    return Sidecar(
        version=version,
        commitments=tuple(commitment for commitment, _ in made),
        proofs=tuple(proof for _, proofs in made for proof in proofs),
    )


def commitment_of(blob: bytes) -> bytes:
    """KZG commitment (48 bytes) of one blob. Raises as `make_sidecar`."""
    return commit_and_prove(blob, 0)[0]
