"""The decided log of a node without a data directory: same surface, nothing durable, oldest records forgotten."""

import threading
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator

from plait.errors import InvariantBroken
from plait.limits import MEMORY_LOG_BYTES_MAX
from plait.storage.base import GENESIS_BASE, LogBase
from plait.storage.record import FIRST_HEIGHT, DecidedRecord
from plait.types import Height, Slot


class MemoryLog:
    """Records in memory, at most `bytes_max` of proposals and senders. One thread appends, any thread reads."""

    def __init__(self, *, bytes_max: int = MEMORY_LOG_BYTES_MAX) -> None:
        self._records: deque[DecidedRecord] = deque()
        self._base = GENESIS_BASE
        self._bytes = 0
        self._bytes_max = bytes_max
        self._lock = threading.Lock()

    @property
    def height(self) -> Height:
        """Height of the newest record; the base's when there is none."""
        return self._records[-1].height if self._records else self._base.height

    @property
    def base(self) -> LogBase:
        """The height that the first record followed."""
        return self._base

    @property
    def last(self) -> DecidedRecord | None:
        """The newest record."""
        return self._records[-1] if self._records else None

    @property
    def first_height(self) -> Height:
        """The oldest height that can be read; one above `height` when there is none."""
        return self._records[0].height if self._records else Height(self._base.height + 1)

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics and `plait status`."""
        return {
            "height": self.height,
            "first_height": self.first_height,
            "segments": 0,
            "segment_bytes": self._bytes,
            "index_entries": len(self._records),
            "cut_bytes": 0,
        }

    def append(self, record: DecidedRecord) -> None:
        """Keeps `record`. Raises InvariantBroken (`log_height_gap`) when its height does not follow."""
        with self._lock:
            if record.height != self.height + 1:
                raise InvariantBroken(
                    f"The log holds height {self.height}; a record of height {record.height} cannot follow.",
                    code="log_height_gap",
                    height=record.height,
                )
            self._records.append(record)
            self._bytes += len(record.proposal) + len(record.senders)
            while self._bytes > self._bytes_max and len(self._records) > 1:
                oldest = self._records.popleft()
                self._bytes -= len(oldest.proposal) + len(oldest.senders)

    def rebase(self, base: LogBase) -> None:
        """Lets a log without records begin above another height. Raises InvariantBroken (`log_height_gap`)."""
        if self._records:
            raise InvariantBroken(
                f"The log holds heights up to {self.height}; it cannot begin above height {base.height}.",
                code="log_height_gap",
                height=base.height,
            )
        self._base = base

    def close(self) -> None:
        """Nothing to free."""

    def read(self, height: Height) -> DecidedRecord | None:
        """The record of `height`, or None when it is not there (yet, or any more)."""
        with self._lock:
            at = height - self.first_height
            return self._records[at] if 0 <= at < len(self._records) else None

    def iterate(self, from_height: Height = FIRST_HEIGHT, to_height: Height | None = None) -> Iterator[DecidedRecord]:
        """Records from `from_height` to `to_height` (default: the newest at the call), ascending, both inclusive."""
        with self._lock:
            top = self.height if to_height is None else to_height
            records = [record for record in self._records if from_height <= record.height <= top]
        return iter(records)

    def heights_of_slot(self, slot: Slot) -> range:
        """Heights of the sub-blocks of `slot`; when the slot has none, empty where they would be."""
        with self._lock:
            records = list(self._records)
        start = bisect_left(records, slot, key=lambda record: record.slot)
        end = bisect_right(records, slot, key=lambda record: record.slot)
        first = records[0].height if records else self.height + 1
        return range(first + start, first + end)
