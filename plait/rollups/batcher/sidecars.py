"""What goes beside a blob transaction: KZG commitments and proofs, in both forms that networks take. Pure.

Specification
    version 0   one proof per blob: rlp parts blobs, commitments, proofs (EIP-4844)
    version 1   128 cell proofs per blob: rlp parts 1, blobs, commitments, proofs (EIP-7594, from Osaka on)
    versioned hash = 0x01 ++ sha256(commitment)[1:]
The trusted setup is the result of Ethereum's KZG ceremony, as the consensus specifications publish it (presets/mainnet,
trusted_setup_4096.json); it lies beside this file and is loaded once, when the first blob is made (half a second).
Imports: ckzg, plait.codec, plait.types.
"""

import functools
import gzip
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import ckzg
import msgspec

from plait.codec.rlp import encode_bytes_list, encode_uint
from plait.types import Hash32

BLOB_BYTES: Final = 131_072
CELLS_PER_BLOB: Final = 128
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
        version: 0 or 1. About 50 ms per blob for 0, 250 ms for 1.

    Raises:
        ValueError, RuntimeError: a blob of another size or with a value that is no field element.
    """
    setup = _setup()
    commitments = tuple(ckzg.blob_to_kzg_commitment(blob, setup) for blob in blobs)
    if version == 0:
        proofs = [ckzg.compute_blob_kzg_proof(blob, made, setup) for blob, made in zip(blobs, commitments, strict=True)]
    else:
        proofs = [proof for blob in blobs for proof in ckzg.compute_cells_and_kzg_proofs(blob, setup)[1]]
    return Sidecar(version=version, commitments=commitments, proofs=tuple(proofs))


def commitment_of(blob: bytes) -> bytes:
    """KZG commitment (48 bytes) of one blob. Raises ValueError, RuntimeError as `make_sidecar`."""
    made: bytes = ckzg.blob_to_kzg_commitment(blob, _setup())
    return made


@functools.cache
def _setup() -> Any:
    packed = Path(__file__).with_name("kzg_trusted_setup.txt.gz").read_bytes()
    with tempfile.NamedTemporaryFile(prefix="plait-kzg-") as file:  # ckzg reads from a path only
        file.write(gzip.decompress(packed))
        file.flush()
        return ckzg.load_trusted_setup(file.name, 0)
