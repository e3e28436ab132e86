"""Storage: ownership of a data directory, failed disks, snapshots, the log in memory."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from plait.errors import ConfigurationError, InvariantBroken, Unavailable
from plait.limits import SNAPSHOTS_KEPT
from plait.storage import DataDirectory, DecidedLog, DecidedRecord, Files, MemoryLog, Snapshots

NETWORK = b"n" * 32


def record(height: int, size: int = 10) -> DecidedRecord:
    return DecidedRecord(
        height=height, slot=height, sub_index=0, time_ms=height, app_hash=bytes(32), proposal=b"p" * size, senders=b""
    )


def test_a_second_owner_of_a_data_directory_is_refused_with_the_first_ones_process_id(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from plait.storage import DataDirectory\n"
            "d = DataDirectory(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(Unavailable, match=str(holder.pid)) as caught:
        DataDirectory(tmp_path)
    assert caught.value.code == "data_directory_in_use"
    holder.kill()
    holder.wait()
    DataDirectory(tmp_path).close()


def test_a_path_that_is_a_file_is_refused_as_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as caught:
        DataDirectory(tmp_path / "file")
    assert caught.value.code == "data_directory_unusable"


def test_a_log_of_another_network_is_refused(tmp_path: Path) -> None:
    DecidedLog(tmp_path, NETWORK).close()
    with pytest.raises(ConfigurationError) as caught:
        DecidedLog(tmp_path, b"m" * 32)
    assert caught.value.code == "network_mismatch"


class FullDisk(Files):
    full = False

    def write(self, fd: int, data: bytes | memoryview) -> None:
        if self.full:
            super().write(fd, memoryview(data)[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(fd, data)


def test_after_a_failed_write_the_log_takes_nothing_more_and_reopens_whole(tmp_path: Path) -> None:
    files = FullDisk()
    log = DecidedLog(tmp_path, NETWORK, files=files)
    log.append(record(1))
    files.full = True
    with pytest.raises(InvariantBroken, match="No space left") as caught:
        log.append(record(2))
    assert caught.value.code == "log_write_failed"
    files.full = False
    with pytest.raises(InvariantBroken):
        log.append(record(2))
    assert log.height == 1
    log.close()
    again = DecidedLog(tmp_path, NETWORK)
    assert again.cut_bytes == 5
    again.append(record(2))
    assert [one.height for one in again.iterate()] == [1, 2]
    again.close()


def test_a_gap_in_heights_is_refused(tmp_path: Path) -> None:
    for log in (DecidedLog(tmp_path, NETWORK), MemoryLog()):
        log.append(record(1))
        with pytest.raises(InvariantBroken) as caught:
            log.append(record(3))
        assert caught.value.code == "log_height_gap"
        log.close()


def test_the_log_in_memory_forgets_its_oldest_records() -> None:
    log = MemoryLog(bytes_max=100)
    for height in range(1, 31):
        log.append(record(height))
    assert (log.first_height, log.height) == (21, 30)
    assert log.read(20) is None
    assert log.read(21) == record(21)
    assert list(log.heights_of_slot(25)) == [25]


def parts(content: bytes) -> dict[str, object]:
    return {"ledger": lambda path: path.write_bytes(content), "rollup-901": lambda path: path.write_bytes(content * 2)}


def test_the_newest_good_snapshot_is_used_and_damaged_ones_are_named(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, NETWORK)
    for height in (10, 20, 30):
        snapshots.write(height, bytes([height]) * 32, parts(b"%d" % height))
    assert snapshots.heights() == [30, 20]
    assert len(snapshots.heights()) == SNAPSHOTS_KEPT
    (tmp_path / f"{30:020d}" / "rollup-901").write_bytes(b"3031")
    good = list(snapshots.good(100))
    assert [one.height for one in good] == [20]
    assert good[0].part("ledger").read_bytes() == b"20"
    assert snapshots.skipped == [
        "The snapshot of height 30 is not used: its part rollup-901 does not match the manifest."
    ]


def test_snapshots_beyond_the_log_or_of_another_network_or_half_written_are_not_used(tmp_path: Path) -> None:
    Snapshots(tmp_path, NETWORK).write(10, bytes(32), parts(b"x"))
    assert list(Snapshots(tmp_path, NETWORK).good(9)) == []
    assert list(Snapshots(tmp_path, b"m" * 32).good(10)) == []

    def fails(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.EIO, "input/output error")

    with pytest.raises(OSError, match="input/output"):
        Snapshots(tmp_path, NETWORK).write(11, bytes(32), {"ledger": fails})
    assert [one.height for one in Snapshots(tmp_path, NETWORK).good(20)] == [10]
    assert not list(tmp_path.glob("*.tmp"))
