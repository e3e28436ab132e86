"""A decided log that does not begin at height 1: after a snapshot was taken over, and after old segments went."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plait.errors import InvariantBroken, Unavailable
from plait.storage import DecidedLog, DecidedRecord, Files, LogBase, MemoryLog
from plait.storage.base import BASE_FILE

NETWORK = b"n" * 32
HASH = b"h" * 32


def record(height: int) -> DecidedRecord:
    return DecidedRecord(
        height=height,
        slot=height // 4,
        sub_index=0,
        time_ms=height,
        app_hash=bytes([height % 251]) * 32,
        proposal=b"p" * 100,
        senders=b"",
    )


def filled(path: Path, heights: int, files: Files | None = None) -> DecidedLog:
    """A log of small segments: about three records each."""
    log = DecidedLog(path, NETWORK, segment_bytes_max=700, files=files)
    for height in range(1, heights + 1):
        log.append(record(height))
    return log


class Crash(BaseException):
    """The process ends here."""


class CrashingFiles(Files):
    """Ends the process before its `at`th operation, or in the middle of it when it writes."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.operations = 0

    def _step(self) -> None:
        self.operations += 1
        self.left -= 1
        if self.left < 0:
            raise Crash

    def write(self, fd: int, data: bytes | memoryview) -> None:
        """Writes, or half of it."""
        try:
            self._step()
        except Crash:
            super().write(fd, memoryview(data)[: len(data) // 2])
            raise
        super().write(fd, data)

    def sync_data(self, fd: int) -> None:
        """May crash before."""
        self._step()

    def sync_directory(self, path: Path) -> None:
        """May crash before."""
        self._step()

    def rename(self, source: Path, target: Path) -> None:
        """May crash before."""
        self._step()
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        """May crash before."""
        self._step()
        super().remove(path)


def test_a_log_without_records_begins_above_another_height_and_goes_on_from_there(tmp_path: Path) -> None:
    for log in (DecidedLog(tmp_path, NETWORK), MemoryLog()):
        log.rebase(LogBase(41, HASH))
        assert (log.height, log.first_height, log.last, log.read(41)) == (41, 42, None, None)
        assert list(log.iterate()) == []
        with pytest.raises(InvariantBroken):
            log.append(record(1))
        log.append(record(42))
        with pytest.raises(InvariantBroken) as caught:
            log.rebase(LogBase(50, HASH))
        assert caught.value.code == "log_height_gap"
        log.close()
    again = DecidedLog(tmp_path, NETWORK)
    assert (again.height, again.base, [one.height for one in again.iterate()]) == (42, LogBase(41, HASH), [42])
    again.close()


def test_old_segments_are_removed_and_what_is_left_reads_as_before(tmp_path: Path) -> None:
    log = filled(tmp_path, 30)
    first = log.prune(17)
    assert 1 < first <= 17
    assert log.base == LogBase(first - 1, record(first - 1).app_hash)
    assert [one.height for one in log.iterate()] == list(range(first, 31))
    assert log.read(first - 1) is None
    assert log.heights_of_slot(7) == range(28, 31)
    assert log.prune(5) == first
    log.append(record(31))
    log.close()
    again = DecidedLog(tmp_path, NETWORK)
    assert (again.first_height, again.height) == (first, 31)
    assert again.prune(1_000) > 17, "the newest segment stays"
    assert again.read(31) == record(31)
    again.close()


def test_reading_a_segment_that_is_being_removed_says_so(tmp_path: Path) -> None:
    log = filled(tmp_path, 30)
    reader = log.iterate(1)
    next(reader)
    log.prune(30)
    with pytest.raises(Unavailable) as caught:
        list(reader)
    assert caught.value.code == "height_pruned"
    log.close()


def test_a_missing_first_segment_without_a_base_is_damage(tmp_path: Path) -> None:
    filled(tmp_path, 30).close()
    sorted(tmp_path.glob("*.segment"))[0].unlink()
    with pytest.raises(InvariantBroken, match="first segment is missing") as caught:
        DecidedLog(tmp_path, NETWORK)
    assert caught.value.code == "log_damaged"


def test_a_base_that_is_not_as_it_was_written_is_damage(tmp_path: Path) -> None:
    log = DecidedLog(tmp_path, NETWORK)
    log.rebase(LogBase(41, HASH))
    log.close()
    path = tmp_path / BASE_FILE
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(InvariantBroken) as caught:
            DecidedLog(tmp_path, NETWORK)
        assert caught.value.code == "log_damaged", at
    path.write_bytes(good[:-1])
    with pytest.raises(InvariantBroken):
        DecidedLog(tmp_path, NETWORK)


def crash_everywhere(tmp_path: Path, prepare: int, act: Callable[[DecidedLog], object]) -> list[DecidedLog]:
    """The log as it is found after a crash at every operation of `act`, and after none."""
    found: list[DecidedLog] = []
    for at in range(100):
        path = tmp_path / str(at)
        filled(path, prepare).close()
        files = CrashingFiles(10**9)
        log = DecidedLog(path, NETWORK, segment_bytes_max=700, files=files)
        files.left = at
        try:
            act(log)
        except Crash:
            log.close()
            found.append(DecidedLog(path, NETWORK))
            continue
        log.close()
        found.append(DecidedLog(path, NETWORK))
        return found
    raise AssertionError("it never ends")


def test_a_crash_while_old_segments_go_leaves_the_log_with_or_without_them(tmp_path: Path) -> None:
    logs = crash_everywhere(tmp_path, 30, lambda log: log.prune(17))
    assert len(logs) > 8
    firsts = [log.first_height for log in logs]
    assert set(firsts) == {1, firsts[-1]}
    assert sorted(firsts) == firsts
    for log in logs:
        assert [one.height for one in log.iterate()] == list(range(log.first_height, 31))
        log.append(record(31))
        starts = [int(path.stem) for path in sorted((log._directory).glob("*.segment"))]
        assert starts[0] == log.first_height
        log.close()


def test_a_crash_while_a_log_gets_another_base_leaves_the_one_or_the_other(tmp_path: Path) -> None:
    logs = crash_everywhere(tmp_path, 0, lambda log: log.rebase(LogBase(41, HASH)))
    assert len(logs) > 6
    heights = [log.height for log in logs]
    assert heights[0] == 0
    assert heights[-1] == 41
    assert set(heights) == {0, 41}
    for log in logs:
        log.append(record(log.height + 1))
        log.close()
