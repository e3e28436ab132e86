"""The durable log of decided sub-blocks: append-only, one write and one fdatasync per record.

Invariants
    1. `append` returns only when the record is on the disk; heights follow each other without a gap.
    2. Opening after any crash gives a prefix of what was appended that holds everything whose `append` returned.
    3. Damage of durable records is never cut away: it is refused by name (`log_damaged`), at open for the newest
       segment, when read for older ones.
    4. After a failed write or sync the log takes no more records (what the disk holds is then unknown).
    5. Memory is bounded: one index entry per LOG_INDEX_STRIDE_BYTES, for LOG_INDEXES_KEPT older segments.

One thread appends; any thread reads. The directory's owner (`DataDirectory`) keeps other processes out.
Format: `plait.storage.record`; decision: docs/adr/0005-decided-log.md.
"""

import bisect
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from plait.errors import ConfigurationError, InvariantBroken, Unavailable
from plait.limits import LOG_INDEX_STRIDE_BYTES, LOG_INDEXES_KEPT, LOG_SEGMENT_BYTES_MAX
from plait.storage.files import TEMPORARY_SUFFIX, Files
from plait.storage.record import (
    FIRST_HEIGHT,
    SEGMENT_HEADER_BYTES,
    DecidedRecord,
    encode_record,
    encode_segment_header,
)
from plait.storage.segment import SUFFIX, damaged, find_torn_tail, read_records, read_segment_header, segment_path
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
        self._last: DecidedRecord | None = None
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
        self._starts = self._find_segments()
        if not self._starts:
            self._begin_segment(Height(1))
        else:
            self._open_last()

    # ------------------------------------------------------------ state
    @property
    def height(self) -> Height:
        """Height of the newest record; 0 when there is none."""
        return Height(0) if self._last is None else self._last.height

    @property
    def last(self) -> DecidedRecord | None:
        """The newest record."""
        return self._last

    @property
    def first_height(self) -> Height:
        """The oldest height that can be read."""
        return self._starts[0]

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics and `plait status`."""
        with self._lock:
            return {
                "height": self.height,
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

        Raises:
            InvariantBroken: `log_damaged` at the first record that is not as it was written.
        """
        with self._lock:
            top = self.height if to_height is None else min(to_height, self.height)
            starts = list(self._starts)
        height = Height(max(from_height, starts[0]))
        while height <= top:
            at = bisect.bisect_right(starts, height) - 1
            end = min(top, starts[at + 1] - 1 if at + 1 < len(starts) else top)
            path = segment_path(self._directory, starts[at])
            near, offset = self._index(starts[at]).floor(height)
            for _, following, record in read_records(path, offset=offset, height=near):
                offset = following
                if record.height >= height:
                    yield record
                    height = Height(height + 1)
                if height > end:
                    break
            if height <= end:
                raise damaged(path, offset, height, "the segment ends before it")

    def heights_of_slot(self, slot: Slot) -> range:
        """Heights of the sub-blocks of `slot`; empty when the slot has none."""
        return range(self._first_height_at(slot), self._first_height_at(Slot(slot + 1)))

    def _first_height_at(self, slot: Slot) -> int:
        """The lowest height whose slot is `slot` or later (slots never fall); past the newest when there is none."""
        low, high = int(self.first_height), self.height + 1
        while low < high:
            middle = (low + high) // 2
            record = self.read(Height(middle))
            if record is None:
                raise Unavailable(f"Height {middle} is not in the log.", code="height_unknown", height=middle)
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
        if starts and starts[0] != 1:
            raise damaged(segment_path(self._directory, starts[0]), 0, Height(1), "the first segment is missing")
        return starts

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

    def _begin_segment(self, first_height: Height) -> None:
        path = segment_path(self._directory, first_height)
        self._files.write_whole(path, encode_segment_header(first_height, self._network))
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        if self._fd >= 0:
            os.close(self._fd)
        with self._lock:
            self._fd = fd
            if first_height == 1:
                self._starts = [first_height]
            else:
                self._starts.append(first_height)
            self._indexes[first_height] = _Index([], [])
            self._end = SEGMENT_HEADER_BYTES
