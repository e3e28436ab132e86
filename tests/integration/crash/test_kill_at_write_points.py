"""A node killed inside every kind of disk operation, again and again in the same directory, loses nothing it reported.

The child (`child_node.py`) is a real process; the disk operation in which it dies is counted by a constructor argument.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from child_node import run
from forked import Forked

from plait.node.config import NodeConfig
from plait.node.node import open_storage
from plait.node.verify import verify

CHILD = Path(__file__).with_name("child_node.py")
OWN_INTERPRETER_EVERY = 5
"""Of the starts; the others are forked."""


def run_child(directory: Path, dies_at: int, seed: int, errors: Path) -> tuple[list[tuple[int, str, int]], int]:
    """What it reported as decided, and how it ended."""
    if dies_at % OWN_INTERPRETER_EVERY == 0:
        done = subprocess.run(
            [sys.executable, str(CHILD), str(directory), str(dies_at), str(seed)],
            capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).resolve().parents[3],
        )  # fmt: skip
        code, said, why = done.returncode, done.stdout, done.stderr
    else:
        process = Forked(run, directory, dies_at, seed, errors=errors)
        said = process.read().decode()
        code, why = process.ended(), errors.read_text()
    assert code in {0, -9}, f"dies_at={dies_at} seed={seed}: {why[-2000:]}"
    reported = []
    for line in said.splitlines():
        word, *rest = line.split()
        if word == "decided" and len(rest) == 3:
            reported.append((int(rest[0]), rest[1], int(rest[2])))
    return reported, code


@pytest.mark.slow
def test_nothing_reported_is_lost_when_killed_at_each_write_point(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    errors = tmp_path_factory.mktemp("errors") / "stderr"
    reported: dict[int, str] = {}
    kills = 0
    for dies_at in range(45):
        found, ended = run_child(tmp_path, dies_at, seed=dies_at, errors=errors)
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
