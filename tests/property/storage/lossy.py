"""A disk that forgets: what `Files` wrote but did not sync may be gone, in part, after a power loss."""

import os
import random
from pathlib import Path

from plait.storage.files import Files
from plait.storage.record import SECTOR_BYTES


class PowerLossError(Exception):
    """The simulated machine lost its power."""


class LossyFiles(Files):
    """Loses power at operation `dies_at` (counted from 0); `lose` then damages unsynced appends as a disk may."""

    def __init__(self, seed: int, dies_at: int | None = None) -> None:
        self.random = random.Random(seed)
        self.dies_at = dies_at
        self.operations = 0
        self.unsynced: dict[Path, int] = {}

    def _count(self) -> bool:
        self.operations += 1
        return self.dies_at is not None and self.operations > self.dies_at

    def _step(self) -> None:
        if self._count():
            raise PowerLossError

    def write(self, fd: int, data: bytes | memoryview) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        self.unsynced.setdefault(path, os.fstat(fd).st_size)
        if self._count():
            super().write(fd, memoryview(data)[: self.random.randrange(len(data) + 1)])
            raise PowerLossError
        super().write(fd, data)

    def sync_data(self, fd: int) -> None:
        self._step()
        super().sync_data(fd)
        self.unsynced.pop(Path(os.readlink(f"/proc/self/fd/{fd}")), None)

    def truncate(self, fd: int, size_bytes: int) -> None:
        self._step()
        super().truncate(fd, size_bytes)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)

    def lose(self) -> None:
        """Of what was written and not synced, a random part remains: cut off anywhere, whole sectors zero."""
        for path, durable in self.unsynced.items():
            if not path.exists():
                continue
            data = bytearray(path.read_bytes())
            size = self.random.randint(durable, len(data))
            del data[size:]
            start = durable
            while start < size:
                end = min(size, start - start % SECTOR_BYTES + SECTOR_BYTES)
                if self.random.random() < 0.3:
                    data[start:end] = bytes(end - start)
                start = end
            path.write_bytes(data)
