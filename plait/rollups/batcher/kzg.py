"""KZG commitments and proofs of blobs, computed in a process of their own (`kzg_worker` says why).

One process serves all of a node; it starts with the first blob, ends with the node, and is started anew when it died.
Calls block until the answer is there: make them in a thread, and the event loop goes on.
The trusted setup is the result of Ethereum's KZG ceremony, as the consensus specifications publish it (presets/mainnet,
trusted_setup_4096.json); it lies beside this file.
"""

import atexit
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final, Literal

from plait.derivation.blobs import BLOB_BYTES
from plait.errors import Unavailable

Kind = Literal[0, 1, 2]
"""Commitment alone; with one proof (EIP-4844); with 128 cell proofs (EIP-7594)."""

_SETUP: Final = Path(__file__).with_name("kzg_trusted_setup.txt.gz")
_WORKER: Final = Path(__file__).with_name("kzg_worker.py")
_HEAD_BYTES: Final = 5


class _Worker:
    """The process and the lock that makes its callers wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, kind: Kind, blob: bytes) -> tuple[int, bytes]:
        """(status, bytes). Raises Unavailable `kzg_unavailable`."""
        with self._lock:
            for _ in range(2):  # once more when the process died
                process = self._running()
                try:
                    return self._exchange(process, kind, blob)
                except (OSError, EOFError):
                    self._end()
        raise Unavailable(
            "The process that computes blob proofs ends at once; run it by hand to see why, or post calldata.",
            code="kzg_unavailable",
        )

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-I", str(_WORKER), str(_SETUP)]
            self._process = subprocess.Popen(  # noqa: S603 - our own script
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], kind: Kind, blob: bytes) -> tuple[int, bytes]:
        source, target = process.stdout, process.stdin
        assert source is not None, "a pipe"
        assert target is not None, "a pipe"
        target.write(bytes((kind,)) + blob)
        target.flush()
        head = source.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            raise EOFError
        size = int.from_bytes(head[1:], "big")
        found = source.read(size)
        if len(found) < size:
            raise EOFError
        return head[0], found

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # it had not read what was written


_worker: Final = _Worker()
atexit.register(_worker.close)


def commit_and_prove(blob: bytes, kind: Kind) -> tuple[bytes, tuple[bytes, ...]]:
    """Commitment of a blob and its proofs, 48 bytes each.

    Raises:
        ValueError: it has not 131,072 bytes, or a value that is no field element.
        Unavailable: `kzg_unavailable`.
    """
    if len(blob) != BLOB_BYTES:
        raise ValueError(f"a blob has {BLOB_BYTES} bytes, not {len(blob)}")
    status, found = _worker.ask(kind, blob)
    if status != 0:
        raise ValueError(found.decode(errors="replace"))
    parts = tuple(found[start : start + 48] for start in range(0, len(found), 48))
    return parts[0], parts[1:]
