"""A process that computes KZG commitments and proofs: the library holds the interpreter while it works, for seconds at
first and a third of a second per blob, and a node must not stand still that long.

Run by `plait.rollups.batcher.kzg` as a script, so that nothing of Plait is imported here. It ends when its input does:
with the process that started it, however that one ends.

    request     kind ++ blob (131,072 bytes)
    kind        one byte: 0 commitment, 1 commitment and blob proof, 2 commitment and 128 cell proofs
    answer      0 ++ length (u32) ++ bytes (48 each), or 1 ++ length (u32) ++ what is wrong with the blob
The only argument is the path of the packed trusted setup.
"""

import gzip
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import ckzg

BLOB_BYTES = 131_072


def setup_of(path: Path) -> Any:
    """The trusted setup; ckzg reads it from a file only."""
    with tempfile.NamedTemporaryFile(prefix="plait-kzg-") as file:
        file.write(gzip.decompress(path.read_bytes()))
        file.flush()
        return ckzg.load_trusted_setup(file.name, 0)


def answer(kind: int, blob: bytes, setup: Any) -> bytes:
    """Commitment and proofs of one blob. Raises ValueError, RuntimeError for what is no blob."""
    commitment: bytes = ckzg.blob_to_kzg_commitment(blob, setup)
    if kind == 0:
        return commitment
    if kind == 1:
        return commitment + bytes(ckzg.compute_blob_kzg_proof(blob, commitment, setup))
    return commitment + b"".join(ckzg.compute_cells_and_kzg_proofs(blob, setup)[1])


def main() -> None:
    """Answers until the input ends."""
    os.nice(5)
    setup = setup_of(Path(sys.argv[1]))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while len(request := source.read(1 + BLOB_BYTES)) == 1 + BLOB_BYTES:
        try:
            status, found = 0, answer(request[0], request[1:], setup)
        except (ValueError, RuntimeError) as error:
            status, found = 1, str(error).encode()
        target.write(bytes((status,)) + len(found).to_bytes(4, "big") + found)
        target.flush()


if __name__ == "__main__":
    main()
