"""A network snapshot that is being received: chunks in any order, each checked against the manifest, straight to disk.

    restore/<part>      files of the size that the manifest says, filled chunk by chunk

Nothing here outlives the process: what a node finds of it at its start is removed. Memory: one bit per chunk. Not safe
to share between threads.
"""

import os
import shutil
from hashlib import sha256
from pathlib import Path

from plait.errors import Unavailable
from plait.limits import NETWORK_SNAPSHOT_FREE_BYTES_MIN
from plait.storage.files import Files
from plait.storage.manifest import Manifest, Part


class ReceivedSnapshot:
    """The snapshot of one manifest, in one directory, which is emptied first.

    Raises:
        Unavailable: `disk_full` when the disk has no room for it twice (its files, and the state and blocks from them).
        OSError: the directory cannot be used.
    """

    def __init__(self, directory: Path, manifest: Manifest, *, files: Files | None = None) -> None:
        self.directory = directory
        self.manifest = manifest
        self._files = files if files is not None else Files()
        self._missing = set(range(manifest.chunks))
        self._files.remove_tree(directory)
        directory.mkdir(parents=True)
        free = shutil.disk_usage(directory).free
        if free < 2 * manifest.total_bytes + NETWORK_SNAPSHOT_FREE_BYTES_MIN:
            raise Unavailable(
                f"The snapshot of height {manifest.height} has {manifest.total_bytes} bytes, which the disk of "
                f"{directory} cannot hold twice; free space.",
                code="disk_full",
                path=str(directory),
            )

    @property
    def complete(self) -> bool:
        """Whether every chunk is here."""
        return not self._missing

    def has(self, part: Part) -> bool:
        """Whether a part is complete."""
        return self._missing.isdisjoint(part.chunks)

    def put(self, index: int, chunk: bytes) -> bool:
        """Keeps chunk `index`, which must be below the manifest's count; False when it is another. Raises OSError."""
        part, offset, length = self.manifest.locate(index)
        if len(chunk) != length or sha256(chunk).digest() != self.manifest.chunk_hash(index):
            return False
        fd = os.open(self.path(part), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._files.write_at(fd, chunk, offset)
        finally:
            os.close(fd)
        self._missing.discard(index)
        return True

    def sync(self) -> None:
        """Makes all parts durable. Raises OSError."""
        for part in self.manifest.parts:
            fd = os.open(self.path(part), os.O_RDONLY)
            try:
                self._files.sync_data(fd)
            finally:
                os.close(fd)
        self._files.sync_directory(self.directory)

    def path(self, part: Part) -> Path:
        """The file of a part."""
        return self.directory / part.name

    def discard(self) -> None:
        """Removes everything. Raises OSError."""
        self._files.remove_tree(self.directory)
