"""The durable log of decided sub-blocks: append-only, one write and one fdatasync per record.

Invariants
    1. `append` returns only when the record is on the disk; heights follow each other without a gap.
    2. Opening after any crash gives a prefix of what was appended that holds everything whose `append` returned.
    3. Damage of durable records is never cut away: it is refused by name (`log_damaged`), at open for the newest
       segment, when read for older ones.
    4. After a failed write or sync the log takes no more records (what the disk holds is then unknown).
    5. Memory is bounded: one index entry per LOG_INDEX_STRIDE_BYTES, for LOG_INDEXES_KEPT older segments.
    6. The log begins above its base (`plait.storage.base`): height 0, the height of the snapshot that the node started
       from, or the last one of the segments that were removed. What lies below is not read, and not missed.

One thread appends; any thread reads and removes old segments. The directory's owner (`DataDirectory`) keeps other
processes out.
Format: `plait.storage.record`; decision: docs/adr/0005-decided-log.md.
"""

import bisect
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from plait.errors import ConfigurationError, InvariantBroken
from plait.limits import LOG_INDEX_STRIDE_BYTES, LOG_INDEXES_KEPT, LOG_SEGMENT_BYTES_MAX
from plait.storage.base import GENESIS_BASE, LogBase, read_base, write_base
from plait.storage.files import TEMPORARY_SUFFIX, Files
from plait.storage.record import (
    FIRST_HEIGHT,
    SEGMENT_HEADER_BYTES,
    DecidedRecord,
    encode_record,
    encode_segment_header,
)
from plait.storage.segment import (
    SUFFIX,
    damaged,
    find_torn_tail,
    pruned,
    read_records,
    read_segment_header,
    segment_path,
)
from plait.types import Hash32, Height, Slot


class _Index(msgspec.Struct):
    """Some heights of one segment with their offsets, ascending."""

    heights: list[Height]
    offsets: list[int]

    def note(self, height: Height, offset: int) -> None:
        if not self.offsets or offset - self.offsets[-1] >= LOG_INDEX_STRIDE_BYTES:
            self.heights.append(height)
            self.offsets.append(offset)

    def floor(self, height: Height) -> tuple[Height, int]:
        at = bisect.bisect_right(self.heights, height) - 1
        return self.heights[at], self.offsets[at]


class DecidedLog:
    """The log in one directory.

    Args:
        directory: created when absent; its owner holds the data directory's lock.
        network: 32 bytes naming the network; a log of another network is refused.
        files: the disk (tests pass one that fails).
        segment_bytes_max: a segment that reached this is closed and a new one begun.

    Raises:
        InvariantBroken: `log_damaged`, see the module.
        ConfigurationError: `network_mismatch`.
    """

    def __init__(
        self,
        directory: Path,
        network: Hash32,
        *,
        files: Files | None = None,
        segment_bytes_max: int = LOG_SEGMENT_BYTES_MAX,
    ) -> None:
        self._directory = directory
        self._network = network
        self._files = files if files is not None else Files()
        self._segment_bytes_max = segment_bytes_max
        self._lock = threading.Lock()
        self._indexes: OrderedDict[Height, _Index] = OrderedDict()
        self._starts: list[Height] = []
        self._last: DecidedRecord | None = None
        self._base = GENESIS_BASE
        self._end = SEGMENT_HEADER_BYTES
        self._fd = -1
        self._poisoned: str | None = None
        self.cut_bytes = 0
        """Bytes of an interrupted append that opening cut off."""
        if not directory.exists():
            directory.mkdir(parents=True)
            self._files.sync_directory(directory.parent)  # a log that vanishes whole would look like a new one
        for remains in directory.glob(f"*{TEMPORARY_SUFFIX}"):
            self._files.remove(remains)
        self._base = read_base(directory, network)
        self._starts = self._find_segments()
        if not self._starts:
            self._begin_segment(Height(self._base.height + 1))
        else:
            self._open_last()

    # ------------------------------------------------------------ state
    @property
    def height(self) -> Height:
        """Height of the newest record; the base's when there is none."""
        return self._base.height if self._last is None else self._last.height

    @property
    def base(self) -> LogBase:
        """Where the log begins: the height below its first one."""
        return self._base

    @property
    def last(self) -> DecidedRecord | None:
        """The newest record."""
        return self._last

    @property
    def first_height(self) -> Height:
        """The oldest height that can be read; one above `height` when there is none."""
        return Height(self._base.height + 1)

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics and `plait status`."""
        with self._lock:
            return {
                "height": self.height,
                "first_height": self.first_height,
                "segments": len(self._starts),
                "segment_bytes": self._end,
                "index_entries": sum(len(index.heights) for index in self._indexes.values()),
                "cut_bytes": self.cut_bytes,
            }

    # ------------------------------------------------------------ writing
    def append(self, record: DecidedRecord) -> None:
        """Makes `record` durable: returns when it is on the disk.

        Raises:
            InvariantBroken: `log_height_gap` when its height does not follow; `log_write_failed` when the disk refuses,
                and from then on for every append.
        """
        if self._poisoned is not None or self._fd < 0:
            raise InvariantBroken(
                f"The decided log takes no more records: {self._poisoned or 'it is closed'}.", code="log_write_failed"
            )
        if record.height != self.height + 1:
            raise InvariantBroken(
                f"The log holds height {self.height}; a record of height {record.height} cannot follow.",
                code="log_height_gap",
                height=record.height,
            )
        data = encode_record(record)
        try:
            if self._end + len(data) > self._segment_bytes_max and self._end > SEGMENT_HEADER_BYTES:
                self._begin_segment(record.height)
            self._files.write(self._fd, data)
            self._files.sync_data(self._fd)
        except OSError as error:
            self._poisoned = f"writing height {record.height} failed ({error.strerror or error})"
            raise InvariantBroken(
                f"The decided log could not be written: {error.strerror or error}. Free space or replace the disk, "
                "then start the node again; nothing that was reported as decided is lost.",
                code="log_write_failed",
                height=record.height,
            ) from error
        with self._lock:
            self._indexes[self._starts[-1]].note(record.height, self._end)
            self._end += len(data)
            self._last = record

    def rebase(self, base: LogBase) -> None:
        """Lets a log without records begin above another height. A crash leaves the one base or the other.

        Raises:
            InvariantBroken: `log_height_gap` when it has records.
            OSError: nothing changed, or the next opening completes it.
        """
        if self._last is not None:
            raise InvariantBroken(
                f"The log holds heights up to {self.height}; it cannot begin above height {base.height}.",
                code="log_height_gap",
                height=base.height,
            )
        old = list(self._starts)
        write_base(self._files, self._directory, base, self._network)
        self._begin_segment(Height(base.height + 1), alone=True)
        self._base = base
        for start in old:
            if start != base.height + 1:
                self._files.remove(segment_path(self._directory, start))
        self._files.sync_directory(self._directory)

    def prune(self, keep_from: Height) -> Height:
        """Removes the oldest segments that hold nothing from `keep_from` on; returns the first height afterwards.

        The newest segment always stays. A crash leaves segments that the next opening removes. Raises OSError, and
        InvariantBroken (`log_damaged`) when a record that is needed for it cannot be read.
        """
        with self._lock:
            starts = list(self._starts)
        first = max((start for start in starts if start <= keep_from), default=starts[0])
        doomed = starts[: starts.index(first)]
        if not doomed:
            return self.first_height
        record = self.read(Height(first - 1))
        assert record is not None, "a segment begins right above the one before"
        base = LogBase(record.height, record.app_hash)
        write_base(self._files, self._directory, base, self._network)
        with self._lock:
            self._base = base
            self._starts = [start for start in self._starts if start >= first]
            for start in doomed:
                self._indexes.pop(start, None)
        for start in doomed:
            self._files.remove(segment_path(self._directory, start))
        self._files.sync_directory(self._directory)
        return self.first_height

    def close(self) -> None:
        """Frees the file. Everything appended is already durable. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # ------------------------------------------------------------ reading
    def read(self, height: Height) -> DecidedRecord | None:
        """The record of `height`, or None when there is none (yet). Raises InvariantBroken (`log_damaged`)."""
        last = self._last
        if last is not None and height == last.height:
            return last
        return next(self.iterate(height, height), None)

    def iterate(self, from_height: Height = FIRST_HEIGHT, to_height: Height | None = None) -> Iterator[DecidedRecord]:
        """Records from `from_height` to `to_height` (default: the newest at the call), ascending, both inclusive.

        Heights below the first one are left out.

        Raises:
            InvariantBroken: `log_damaged` at the first record that is not as it was written.
            Unavailable: `height_pruned` when the segment was removed in the meantime.
        """
        with self._lock:
            top = self.height if to_height is None else min(to_height, self.height)
            starts = list(self._starts)
        height = Height(max(from_height, starts[0]))
        while height <= top:
            at = bisect.bisect_right(starts, height) - 1
            end = min(top, starts[at + 1] - 1 if at + 1 < len(starts) else top)
            path = segment_path(self._directory, starts[at])
            try:
                near, offset = self._index(starts[at]).floor(height)
                for _, following, record in read_records(path, offset=offset, height=near):
                    offset = following
                    if record.height >= height:
                        yield record
                        height = Height(height + 1)
                    if height > end:
                        break
            except FileNotFoundError as error:
                if starts[at] >= self.first_height:
                    raise damaged(path, 0, height, "the file is missing") from error
                raise pruned(height, self.first_height) from error
            if height <= end:
                raise damaged(path, offset, height, "the segment ends before it")

    def heights_of_slot(self, slot: Slot) -> range:
        """Heights of the sub-blocks of `slot`; when the slot has none, empty where they would be."""
        return range(self._first_height_at(slot), self._first_height_at(Slot(slot + 1)))

    def _first_height_at(self, slot: Slot) -> int:
        """The lowest height whose slot is `slot` or later (slots never fall); past the newest when there is none."""
        low, high = int(self.first_height), self.height + 1
        while low < high:
            middle = (low + high) // 2
            record = self.read(Height(middle))
            if record is None:
                raise pruned(Height(middle), self.first_height)
            if record.slot < slot:
                low = middle + 1
            else:
                high = middle
        return low

    def _index(self, start: Height) -> _Index:
        with self._lock:
            index = self._indexes.get(start)
            if index is not None:
                self._indexes.move_to_end(start)
                return index
        index = _Index([], [])
        for offset, _, record in read_records(
            segment_path(self._directory, start), offset=SEGMENT_HEADER_BYTES, height=start
        ):
            index.note(record.height, offset)
        if not index.heights:
            raise damaged(
                segment_path(self._directory, start), SEGMENT_HEADER_BYTES, start, "the segment holds no record"
            )
        with self._lock:
            self._indexes[start] = index
            self._indexes.move_to_end(start)
            while len(self._indexes) > LOG_INDEXES_KEPT + 1:
                oldest = next(key for key in self._indexes if key != self._starts[-1])
                del self._indexes[oldest]
        return index

    # ------------------------------------------------------------ opening
    def _find_segments(self) -> list[Height]:
        starts: list[Height] = []
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            start, network = read_segment_header(path)
            if network != self._network:
                raise ConfigurationError(
                    f"The log in {self._directory} belongs to another network; "
                    "choose another data directory or use --reset.",
                    code="network_mismatch",
                    segment=path.name,
                )
            starts.append(start)
        first = Height(self._base.height + 1)
        below = [start for start in starts if start < first]
        if below and (first in starts or self._holds_nothing(starts)):
            # Remains of an interrupted `prune` or `rebase`: the base is written before anything is removed.
            for start in below:
                self._files.remove(segment_path(self._directory, start))
            self._files.sync_directory(self._directory)
            starts = starts[len(below) :]
        if starts and starts[0] != first:
            raise damaged(segment_path(self._directory, starts[0]), 0, first, "the first segment is missing")
        return starts

    def _holds_nothing(self, starts: list[Height]) -> bool:
        return all(segment_path(self._directory, start).stat().st_size == SEGMENT_HEADER_BYTES for start in starts)

    def _open_last(self) -> None:
        """Checks the newest segment record by record and cuts an interrupted append."""
        start = self._starts[-1]
        path = segment_path(self._directory, start)
        index = _Index([], [])
        end = SEGMENT_HEADER_BYTES
        try:
            for offset, following, record in read_records(path, offset=end, height=start):
                end = following
                index.note(record.height, offset)
                self._last = record
        except InvariantBroken:
            if not find_torn_tail(path, end):
                raise
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        size = os.fstat(self._fd).st_size
        if size > end:
            self._files.truncate(self._fd, end)
            self._files.sync_data(self._fd)
            self.cut_bytes = size - end
        self._end = end
        self._indexes[start] = index
        if self._last is None and len(self._starts) > 1:
            self._last = self._last_of_previous()

    def _last_of_previous(self) -> DecidedRecord:
        """The newest segment is empty: the one before must end right below it."""
        previous, expected = self._starts[-2], Height(self._starts[-1] - 1)
        record: DecidedRecord | None = None
        path = segment_path(self._directory, previous)
        for _, _, found in read_records(path, offset=SEGMENT_HEADER_BYTES, height=previous):
            record = found
        if record is None or record.height != expected:
            raise damaged(path, path.stat().st_size, expected, "the segment ends before it")
        return record

    def _begin_segment(self, first_height: Height, *, alone: bool = False) -> None:
        path = segment_path(self._directory, first_height)
        self._files.write_whole(path, encode_segment_header(first_height, self._network))
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        if self._fd >= 0:
            os.close(self._fd)
        with self._lock:
            self._fd = fd
            self._starts = [first_height] if alone else [*self._starts, first_height]
            self._indexes[first_height] = _Index([], [])
            self._end = SEGMENT_HEADER_BYTES
