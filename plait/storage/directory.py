"""A node's data directory: its layout, its owner and the network it belongs to.

lock                one node at a time (advisory flock; the kernel frees it however the process ends)
network.json        parameters the directory was created with
log/                decided log, one file per segment
snapshots/          states at some heights
network-snapshots/  the same for other nodes, in chunks
restore/            what a node that joins has received of another one's
restoring           exists while a received snapshot takes the place of what was there
store/              derived data of the native core; may be deleted, is rebuilt
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from plait.errors import ConfigurationError, Unavailable

NETWORK_FILE = "network.json"


class DataDirectory:
    """A locked data directory. Use as a context manager, or call `close`.

    Raises Unavailable (`data_directory_in_use`) when another process holds it and ConfigurationError
    (`data_directory_unusable`) when it cannot be created or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"The data directory {path} cannot be used: {error.strerror or error}.",
                code="data_directory_unusable",
                path=str(path),
            ) from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._lock_fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._lock_fd)
            self._lock_fd = -1
            raise Unavailable(
                f"The data directory {path} is in use by process {owner}; stop that node or choose another directory.",
                code="data_directory_in_use",
                path=str(path),
                owner=owner,
            ) from error
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    @property
    def genesis(self) -> Path:
        """Where the rollups' genesis files lie."""
        return self.path / "genesis"

    @property
    def log(self) -> Path:
        """Where the decided log lies."""
        return self.path / "log"

    @property
    def snapshots(self) -> Path:
        """Where snapshots lie."""
        return self.path / "snapshots"

    @property
    def network_snapshots(self) -> Path:
        """Where snapshots for other nodes lie."""
        return self.path / "network-snapshots"

    @property
    def restore(self) -> Path:
        """Where chunks of another node's snapshot are collected."""
        return self.path / "restore"

    @property
    def restoring(self) -> Path:
        """Found at a start, a received snapshot was being put in place when the process ended."""
        return self.path / "restoring"

    @property
    def store(self) -> Path:
        """Where the native core's derived data lies."""
        return self.path / "store"

    @property
    def network(self) -> Path:
        """The parameters that the directory was created with."""
        return self.path / NETWORK_FILE

    def close(self) -> None:
        """Gives the directory free. Safe to call twice."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> "DataDirectory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
