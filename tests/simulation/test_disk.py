"""The simulated disk forgets what a real one may forget, and nothing else."""

import os
from pathlib import Path
from random import Random

import pytest

from sim.disk import PowerLost, SimulatedDisk


def appended(disk: SimulatedDisk, path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        disk.write(fd, data)
    finally:
        os.close(fd)


def synced(disk: SimulatedDisk, path: Path) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        disk.sync_data(fd)
    finally:
        os.close(fd)


def left(tmp_path: Path, seed: int, *, killed: bool) -> bytes:
    """What is left of 1,000 synced bytes and 3,000 more after a crash."""
    root = tmp_path / f"{seed}-{killed}"
    root.mkdir()
    disk = SimulatedDisk(root, Random(seed))
    appended(disk, root / "file", b"a" * 1_000)
    synced(disk, root / "file")
    appended(disk, root / "file", b"b" * 3_000)
    disk.loses_power = not killed
    disk.crash()
    return (root / "file").read_bytes()


def test_synced_bytes_stay_and_others_may_go_or_become_zero(tmp_path: Path) -> None:
    found = [left(tmp_path, seed, killed=False) for seed in range(60)]
    assert all(data[:1_000] == b"a" * 1_000 for data in found)
    assert len({len(data) for data in found}) > 20, "cut anywhere"
    assert any(0 in data for data in found), "some sectors are zero"


def test_a_killed_process_loses_nothing_that_it_wrote(tmp_path: Path) -> None:
    assert left(tmp_path, 1, killed=True) == b"a" * 1_000 + b"b" * 3_000


def test_a_rename_holds_only_once_its_directory_is_synced(tmp_path: Path) -> None:
    outcomes: set[bytes] = set()
    for seed in range(40):
        root = tmp_path / str(seed)
        root.mkdir()
        disk = SimulatedDisk(root, Random(seed))
        (root / "target").write_bytes(b"old")
        (root / "source").write_bytes(b"new")
        disk.rename(root / "source", root / "target")
        if seed >= 20:
            disk.sync_directory(root)
        disk.crash()
        outcomes.add((root / "target").read_bytes())
        if seed >= 20:
            assert (root / "target").read_bytes() == b"new"
    assert outcomes == {b"old", b"new"}


def test_a_removal_holds_only_once_its_directory_is_synced(tmp_path: Path) -> None:
    there: set[bool] = set()
    for seed in range(40):
        root = tmp_path / str(seed)
        root.mkdir()
        disk = SimulatedDisk(root, Random(seed))
        (root / "file").write_bytes(b"content")
        disk.remove(root / "file")
        if seed >= 20:
            disk.sync_directory(root)
        disk.crash()
        there.add((root / "file").exists())
        assert not (seed >= 20 and (root / "file").exists())
    assert there == {True, False}


def test_it_stops_at_the_chosen_operation_with_a_part_of_the_write_done(tmp_path: Path) -> None:
    lengths: set[int] = set()
    for seed in range(30):
        root = tmp_path / str(seed)
        root.mkdir()
        disk = SimulatedDisk(root, Random(seed))
        disk.dies_at = 1
        appended(disk, root / "file", b"a" * 10)
        with pytest.raises(PowerLost):
            appended(disk, root / "file", b"b" * 100)
        lengths.add((root / "file").stat().st_size)
        with pytest.raises(PowerLost):
            disk.sync_directory(root)
    assert min(lengths) >= 10
    assert len(lengths) > 10
