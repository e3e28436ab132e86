"""A node killed inside every kind of disk operation, again and again in the same directory, loses nothing it reported.

The child (`child_node.py`) is a real process; the disk operation in which it dies is counted by a constructor argument.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from plait.node.config import NodeConfig
from plait.node.node import open_storage
from plait.node.verify import verify

CHILD = Path(__file__).with_name("child_node.py")


def run_child(directory: Path, dies_at: int, seed: int) -> tuple[list[tuple[int, str, int]], int]:
    """What it reported as decided, and how it ended."""
    done = subprocess.run(
        [sys.executable, str(CHILD), str(directory), str(dies_at), str(seed)],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).resolve().parents[3],
    )  # fmt: skip
    assert done.returncode in {0, -9}, f"dies_at={dies_at} seed={seed}: {done.stderr[-2000:]}"
    reported = []
    for line in done.stdout.splitlines():
        word, *rest = line.split()
        if word == "decided" and len(rest) == 3:
            reported.append((int(rest[0]), rest[1], int(rest[2])))
    return reported, done.returncode


@pytest.mark.slow
def test_nothing_reported_is_lost_when_killed_at_each_write_point(tmp_path: Path) -> None:
    reported: dict[int, str] = {}
    kills = 0
    for dies_at in range(45):
        found, ended = run_child(tmp_path, dies_at, seed=dies_at)
        kills += ended == -9
        for height, app_hash, _ in found:
            assert reported.get(height, app_hash) == app_hash, f"height {height} was decided twice, dies_at={dies_at}"
            reported[height] = app_hash
        if not (tmp_path / "network.json").exists():
            assert not found
            continue
        stored = open_storage(None, NodeConfig(data_dir=tmp_path))
        try:
            for height, app_hash in reported.items():
                record = stored.log.read(height)
                assert record is not None, f"height {height} was reported and is lost, dies_at={dies_at}"
                assert record.app_hash.hex() == app_hash, f"height {height} has changed, dies_at={dies_at}"
        finally:
            stored.log.close()
            assert stored.directory is not None
            stored.directory.close()
    assert kills >= 40
    assert len(reported) >= 100
    stored = open_storage(None, NodeConfig(data_dir=tmp_path))
    assert verify(stored).difference is None
    stored.log.close()
