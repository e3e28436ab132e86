"""A disk that forgets, under the real storage code: losing power at any operation, with what that may leave behind.

What a drive promises is modelled, no more: bytes are there after `sync_data`; creations, renames and removals in a
directory after `sync_directory`; a sector is written as a whole or not at all. Of the rest a random part is left: an
append may be cut anywhere or have holes of zeros, renames and removals may be undone, the latest first. A process
that is killed (`kill`) loses nothing that it wrote, only what it had not written yet.

Files lie in a real directory (the log reads them itself); nothing is really synced, which would only take time.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from plait.storage.files import Files
from plait.storage.record import SECTOR_BYTES

Undo = Callable[[], None]


class PowerLost(Exception):
    """The simulated machine stopped in the middle of an operation."""


class SimulatedDisk(Files):
    """One node's disk.

    Args:
        root: an empty directory.
        random: decides what is left of what was not synced.
    """

    def __init__(self, root: Path, random: Random) -> None:
        self.root = root
        self.operations = 0
        """Since the disk was made: every one is a place to crash."""
        self.dies_at: int | None = None
        """The operation (counted from 0) at which power goes or the process is killed; None for never."""
        self.loses_power = True
        """Whether the next crash loses what is not synced."""
        self._random = random
        self._durable_bytes: dict[Path, int] = {}
        self._pending: dict[Path, list[Undo]] = {}

    # ------------------------------------------------------------ operations
    def write(self, fd: int, data: bytes | memoryview) -> None:
        """Appends, or a part of it when the machine stops here."""
        path = _path_of(fd)
        self._durable_bytes.setdefault(path, os.fstat(fd).st_size)
        if self._stops():
            super().write(fd, memoryview(data)[: self._random.randrange(len(data) + 1)])
            raise PowerLost
        super().write(fd, data)

    def sync_data(self, fd: int) -> None:
        """Now the content is safe."""
        self._step()
        self._durable_bytes.pop(_path_of(fd), None)

    def sync_directory(self, path: Path) -> None:
        """Now the names are safe."""
        self._step()
        self._pending.pop(path, None)

    def truncate(self, fd: int, size_bytes: int) -> None:
        """Cuts a file; what it held comes back when power goes before the next sync."""
        self._step()
        path = _path_of(fd)
        durable = self._durable_bytes.get(path)
        if durable is not None:
            self._durable_bytes[path] = min(durable, size_bytes)
        super().truncate(fd, size_bytes)

    def rename(self, source: Path, target: Path) -> None:
        """Renames; may be undone until the directory is synced."""
        self._step()
        before = target.read_bytes() if target.is_file() else None
        super().rename(source, target)
        if source in self._durable_bytes:
            self._durable_bytes[target] = self._durable_bytes.pop(source)

        def undo() -> None:
            if target.exists():
                target.rename(source)
            if before is not None:
                target.write_bytes(before)

        self._pending.setdefault(target.parent, []).append(undo)

    def remove(self, path: Path) -> None:
        """Removes; may be undone until the directory is synced."""
        self._step()
        before = path.read_bytes()
        super().remove(path)
        self._pending.setdefault(path.parent, []).append(lambda: _restore(path, before))

    # ------------------------------------------------------------ crashes
    def crash(self) -> None:
        """Power goes or the process is killed, now. What is left afterwards is what a start finds."""
        self.dies_at = None
        if self.loses_power:
            self._forget()
        self._durable_bytes.clear()
        self._pending.clear()

    def _forget(self) -> None:
        for undos in self._pending.values():
            kept = self._random.randint(0, len(undos))
            for undo in reversed(undos[kept:]):
                undo()
        for path, durable in self._durable_bytes.items():
            if path.is_file():
                self._damage(path, durable)

    def _damage(self, path: Path, durable: int) -> None:
        """Cuts the part that was not synced anywhere, and makes some of its sectors zero."""
        data = bytearray(path.read_bytes())
        size = self._random.randint(min(durable, len(data)), len(data))
        del data[size:]
        start = durable
        while start < size:
            end = min(size, start - start % SECTOR_BYTES + SECTOR_BYTES)
            if self._random.random() < 0.3:
                data[start:end] = bytes(end - start)
            start = end
        path.write_bytes(data)

    def destroy(self) -> None:
        """Removes everything."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _stops(self) -> bool:
        self.operations += 1
        return self.dies_at is not None and self.operations > self.dies_at

    def _step(self) -> None:
        if self._stops():
            raise PowerLost


def _restore(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _path_of(fd: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{fd}"))
