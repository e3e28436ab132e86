"""What was read of a rollup's remote state, on our own disk before it is used: so replaying never asks anybody.

Layout of a directory, one per rollup
    <height>.reads       a segment: what was read since the network stood at that height, in the order of reading

    record = marker (4) ++ length (u32) ++ checksum (u32, CRC-32 of length, kind and payload) ++ kind (1) ++ payload
    kind   1 a trie node, 2 a code, 3 a header; its hash names it, so a record is right or of no use

Invariants
    - `append` returns when the records are on the disk; only then are they used. What a crash tore off was never used.
    - Opening cuts a torn end off the newest segment and passes over damaged bytes elsewhere to the next whole record;
      what was lost with them is asked for again.
    - A snapshot of the node holds what the rollup's state knew when it was taken. A start that goes on from it also
      needs what was read since, and what the core kept beside the state (its pool): the segments before the snapshot
      that hold the last REMOTE_JOURNAL_OVERLAP_BYTES, and two more, since what the last two segments hold is not
      written again and since reading goes on while a snapshot is taken.
    - `prune` removes segments that no start needs, only where the directory has grown beyond `bytes_kept`.
    - With more than `bytes_max` in segments that a start needs, `append` refuses: the caller reads no further.
Methods may be called by any thread. Level 5. Raises OSError where the disk fails; nothing of that append counts then.
"""

import os
import struct
import threading
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from plait.errors import Unavailable
from plait.limits import (
    REMOTE_JOURNAL_BYTES_KEPT,
    REMOTE_JOURNAL_BYTES_MAX,
    REMOTE_JOURNAL_OVERLAP_BYTES,
    REMOTE_JOURNAL_SNAPSHOT_BYTES,
)
from plait.native import keccak256
from plait.storage.files import Files

NODE: Final = 1
CODE: Final = 2
HEADER: Final = 3
_KINDS: Final = (NODE, CODE, HEADER)
_MARKER: Final = b"\xf7rd\n"
_FRAME: Final = struct.Struct(">4sIIB")
_SUFFIX: Final = ".reads"
_NEAR: Final = 0.8
"""Part of the bound from which on `is_near` says so."""


class JournalFull(Unavailable):
    """More was read than a start may have to load."""

    default_code = "remote_journal_full"


class Held(msgspec.Struct, frozen=True):
    """What a journal holds for a start."""

    nodes: list[bytes]
    codes: list[bytes]
    headers: list[bytes]


class ReadJournal:
    """The journal of one rollup. One object per directory at a time.

    Args:
        directory: made if missing.
        files: the disk.
        bytes_max: of segments that a start needs.
        bytes_kept: of all segments; older ones that no start needs go when there is more.
        overlap_bytes: of segments before a snapshot that a start from it needs.
    """

    def __init__(
        self,
        directory: Path,
        *,
        files: Files | None = None,
        bytes_max: int = REMOTE_JOURNAL_BYTES_MAX,
        bytes_kept: int = REMOTE_JOURNAL_BYTES_KEPT,
        overlap_bytes: int = REMOTE_JOURNAL_OVERLAP_BYTES,
    ) -> None:
        self._directory = directory
        self._files = files or Files()
        self._bytes_max = bytes_max
        self._bytes_kept = bytes_kept
        self._overlap_bytes = overlap_bytes
        self._turn = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        self._sizes: dict[int, int] = {}
        self._known: set[bytes] = set()
        """Names of what the newest segment holds."""
        self._known_before: set[bytes] = set()
        """And the one before it."""
        self.damaged_bytes = 0
        """In records that could not be read at opening."""
        self.cut_bytes = 0
        """Torn off the newest segment at opening."""
        self._ended = False
        self._fd: int | None = None
        heights = self._heights()
        for height in heights:
            self._known_before = self._known
            self._sizes[height], self._known = self._opened(height, newest=height == heights[-1])
        self._needed = sum(self._sizes.values())

    # ------------------------------------------------------------ reads
    @property
    def size_bytes(self) -> int:
        """Of all segments."""
        return sum(self._sizes.values())

    @property
    def needed_bytes(self) -> int:
        """Of the segments that a start from the newest snapshot loads."""
        return self._needed

    def is_near(self) -> bool:
        """Whether the bound is near: a snapshot must be written soon."""
        return self._needed >= _NEAR * self._bytes_max

    def is_half(self) -> bool:
        """Whether half of the bound is reached: the rest is for what blocks need."""
        return 2 * self._needed >= self._bytes_max

    def wants_snapshot(self) -> bool:
        """Whether so much was read since the last snapshot that another one is due."""
        return self._sizes.get(max(self._sizes, default=0), 0) >= REMOTE_JOURNAL_SNAPSHOT_BYTES

    def held(self, since: int = 0) -> Held:
        """What a start needs that goes on from a snapshot of height `since`; 0 for everything. Raises OSError."""
        first = self._first_needed(since)
        found: dict[int, dict[bytes, bytes]] = {kind: {} for kind in _KINDS}
        with self._turn:
            for height in sorted(self._sizes):
                if height >= first:
                    for kind, payload in _records(self._path(height).read_bytes())[0]:
                        found[kind][keccak256(payload)] = payload
        return Held(*(list(found[kind].values()) for kind in _KINDS))

    # ------------------------------------------------------------ writing
    def append(self, nodes: Sequence[bytes], codes: Sequence[bytes], headers: Sequence[bytes]) -> None:
        """Returns when all of it is on the disk. What is held already is not written again.

        Raises:
            JournalFull: `remote_journal_full`.
            Unavailable: `remote_unavailable`, the journal was ended.
            OSError: the disk.
        """
        with self._turn:
            if self._ended:
                raise Unavailable("nothing more is kept: the node stops", code="remote_unavailable")
            fresh: list[tuple[bytes, int, bytes]] = []
            named: set[bytes] = set()
            for kind, payloads in ((NODE, nodes), (CODE, codes), (HEADER, headers)):
                for payload in payloads:
                    name = keccak256(payload)
                    if name not in self._known and name not in self._known_before and name not in named:
                        named.add(name)
                        fresh.append((name, kind, payload))
            if not fresh:
                return
            data = b"".join(_record(kind, payload) for _, kind, payload in fresh)
            if self._needed + len(data) > self._bytes_max:
                raise JournalFull(
                    f"{self._needed} bytes of remote state were read since the newest snapshot, and at most "
                    f"{self._bytes_max} may be; stop the node cleanly, so that it writes one."
                )
            height = max(self._sizes, default=0)
            self._write(height, data)
            self._known |= named

    def rotate(self, height: int) -> None:
        """Begins a new segment: a snapshot of `height` is about to be taken. Raises OSError."""
        with self._turn:
            if self._sizes and height <= max(self._sizes):
                return
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
            self._sizes[height] = 0
            self._known_before, self._known = self._known, set()
            self._path(height).touch()
            self._files.sync_directory(self._directory)

    def prune(self, snapshots: Iterable[int]) -> None:
        """Forgets what no start needs any more, as far as more is held than is kept.

        Args:
            snapshots: heights of the node's snapshots on the disk, in any order.

        Raises:
            OSError: a file cannot be removed.
        """
        kept = sorted(snapshots)
        if not kept:
            return
        with self._turn:
            newest, oldest = self._first_needed(kept[-1]), self._first_needed(kept[0])
            self._needed = sum(size for height, size in self._sizes.items() if height >= newest)
            for height in sorted(self._sizes):
                if height >= oldest or sum(self._sizes.values()) <= self._bytes_kept:
                    break
                self._files.remove(self._path(height))
                del self._sizes[height]

    def close(self, *, ends: bool = False) -> None:
        """Closes the file. The next append opens it again, or is refused when this `ends` the journal."""
        with self._turn:
            self._ended = self._ended or ends
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    # ------------------------------------------------------------ inside
    def _heights(self) -> list[int]:
        return sorted(
            int(path.stem) for path in self._directory.iterdir() if path.suffix == _SUFFIX and path.stem.isdigit()
        )

    def _path(self, height: int) -> Path:
        return self._directory / f"{height:020d}{_SUFFIX}"

    def _first_needed(self, since: int) -> int:
        """Height of the oldest segment that a start from a snapshot of height `since` loads."""
        size, further = 0, 2
        first = since
        for height in sorted((one for one in self._sizes if one < since), reverse=True):
            if size >= self._overlap_bytes:
                further -= 1
            if further < 0:
                break
            size += self._sizes[height]
            first = height
        return first

    def _opened(self, height: int, *, newest: bool) -> tuple[int, set[bytes]]:
        """Size of a segment, and names of what it holds; a torn end of the newest one is cut off."""
        path = self._path(height)
        data = path.read_bytes()
        records, end, damaged = _records(data)
        names = {keccak256(payload) for _, payload in records}
        self.damaged_bytes += damaged
        torn = len(data) - end
        if not newest:
            self.damaged_bytes += torn
            return len(data), names
        if torn:
            self.cut_bytes += torn
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._files.truncate(fd, end)
                self._files.sync_data(fd)
            finally:
                os.close(fd)
        return end, names

    def _write(self, height: int, data: bytes) -> None:
        end = self._sizes.get(height, 0)
        if self._fd is None:
            is_new = not self._path(height).exists()
            self._fd = os.open(self._path(height), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if is_new:
                self._files.sync_directory(self._directory)
        try:
            # at its place: what an append that failed left behind is overwritten, or cut off at the next opening
            self._files.write_at(self._fd, data, end)
            self._files.sync_data(self._fd)
        except OSError:
            os.close(self._fd)
            self._fd = None
            raise
        self._sizes[height] = end + len(data)
        self._needed += len(data)


def _record(kind: int, payload: bytes) -> bytes:
    return _FRAME.pack(_MARKER, len(payload), _checksum(kind, payload), kind) + payload


def _checksum(kind: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(len(payload).to_bytes(4, "big") + bytes((kind,))))


def _records(data: bytes) -> tuple[list[tuple[int, bytes]], int, int]:
    """(records, where the last whole one ends, bytes before that which belong to none)."""
    found: list[tuple[int, bytes]] = []
    position = end = damaged = 0
    while True:
        start = data.find(_MARKER, position)
        if start < 0 or start + _FRAME.size > len(data):
            return found, end, damaged
        _, length, checksum, kind = _FRAME.unpack_from(data, start)
        payload = data[start + _FRAME.size : start + _FRAME.size + length]
        if kind not in _KINDS or len(payload) < length or _checksum(kind, payload) != checksum:
            position = start + 1
            continue
        damaged += start - end
        found.append((kind, payload))
        position = end = start + _FRAME.size + length


__all__ = ["CODE", "HEADER", "NODE", "Held", "JournalFull", "ReadJournal"]
