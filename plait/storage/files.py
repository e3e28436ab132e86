"""The few operations that change a disk. Every byte this package makes durable passes here.

One seam for tests: a subclass that dies, fails or forgets unsynced sectors at a chosen operation is handed to the
log and the snapshots as a constructor argument. Reads need no seam; they go to `os` directly.
"""

import fcntl
import os
import shutil
import sys
from pathlib import Path


class Files:
    """The real disk."""

    def write(self, fd: int, data: bytes | memoryview) -> None:
        """Appends all of `data`; a short write goes on where it stopped. Raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]

    def write_at(self, fd: int, data: bytes, offset: int) -> None:
        """Writes all of `data` at `offset`. Raises OSError."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(fd, rest, offset)
            rest, offset = rest[written:], offset + written

    def sync_data(self, fd: int) -> None:
        """Returns when the file's content and length are on the disk. Raises OSError."""
        if sys.platform == "darwin":  # fsync there stops at the drive's cache
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Makes creations, renames and removals inside `path` durable. Raises OSError."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size_bytes: int) -> None:
        """Cuts the file to `size_bytes`. Raises OSError."""
        os.ftruncate(fd, size_bytes)

    def rename(self, source: Path, target: Path) -> None:
        """Renames atomically; an existing file of the target's name is replaced. Raises OSError."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Removes a file. Raises OSError."""
        path.unlink()

    def remove_tree(self, path: Path) -> None:
        """Removes a directory and everything in it; one that is not there is no error. Raises OSError."""
        if path.exists():
            shutil.rmtree(path)

    def link(self, source: Path, target: Path) -> None:
        """Gives a file a second name on the same disk. Raises OSError."""
        target.hardlink_to(source)

    def write_whole(self, path: Path, data: bytes) -> None:
        """Creates or replaces a file so that after a crash it holds either nothing, its old or its new content."""
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self.write(fd, data)
            self.sync_data(fd)
        finally:
            os.close(fd)
        self.rename(temporary, path)
        self.sync_directory(path.parent)


TEMPORARY_SUFFIX = ".tmp"
"""Files of this suffix are remains of an interrupted write; whoever owns the directory removes them at open."""
