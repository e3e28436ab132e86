"""A crash at any point of restoring leaves the old state, the new one, or a clean start: never anything half-done."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from plait.node.state_sync import ApplyResult
from plait.storage import Files
from tests.integration.state_sync.chain import HastyFiles, OpenHome, join, two_rollups

CHILD = Path(__file__).with_name("joining_child.py")
HEIGHT = 60


class Crash(BaseException):
    """The process ends here."""


class CrashingFiles(HastyFiles):
    """Ends the process at its `at`th operation: before it, or in the middle of what it writes."""

    def __init__(self) -> None:
        self.left = 10**9
        self.log: list[str] = []

    def _step(self, what: str) -> None:
        self.log.append(what)
        self.left -= 1
        if self.left < 0:
            raise Crash(what)

    def write(self, fd: int, data: bytes | memoryview) -> None:
        """Writes, or half of it."""
        try:
            self._step("write")
        except Crash:
            Files.write(self, fd, memoryview(data)[: len(data) // 2])
            raise
        super().write(fd, data)

    def write_at(self, fd: int, data: bytes, offset: int) -> None:
        """Writes, or half of it."""
        try:
            self._step("write_at")
        except Crash:
            Files.write_at(self, fd, data[: len(data) // 2], offset)
            raise
        super().write_at(fd, data, offset)

    def sync_data(self, fd: int) -> None:
        """May crash before."""
        self._step("sync_data")

    def sync_directory(self, path: Path) -> None:
        """May crash before."""
        self._step(f"sync_directory {path.name}")

    def rename(self, source: Path, target: Path) -> None:
        """May crash before."""
        self._step(f"rename {target.name}")
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        """May crash before."""
        self._step(f"remove {path.name}")
        super().remove(path)

    def remove_tree(self, path: Path) -> None:
        """May crash before."""
        self._step(f"remove_tree {path.name}")
        super().remove_tree(path)


@pytest.fixture(scope="module")
def giver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenHome]:
    with OpenHome(tmp_path_factory.mktemp("giver") / "home", two_rollups()) as home:
        home.decide(HEIGHT, transactions=6)
        home.take()
        yield home


def crashed_at(giver: OpenHome, path: Path, at: int) -> str | None:
    """Joins and crashes at operation `at`; what was being done, or None when it ended before."""
    files = CrashingFiles()
    taker = OpenHome(path, two_rollups(), files=files)
    files.left = at
    try:
        answer = join(giver.service, taker.service, giver.application.app_hash)
    except Crash as crash:
        return str(crash)
    finally:
        files.left = 10**9
        taker.close()
    assert answer.result is ApplyResult.ACCEPT
    return None


def check_usable(giver: OpenHome, path: Path, where: str) -> int:
    """The node starts at genesis or at the snapshot; in either case it is whole and can go on. Its height."""
    with OpenHome(path, two_rollups()) as again:
        height = again.height
        assert height in {0, HEIGHT}, where
        assert not (path / "restore").exists(), where
        assert not (path / "restoring").exists(), where
        if height == 0:
            assert join(giver.service, again.service, giver.application.app_hash).result is ApplyResult.ACCEPT, where
        assert again.application.info() == giver.application.info(), where
        again.decide(5)
    with OpenHome(path) as again:
        assert again.height == HEIGHT + 5, where
    return height


def test_a_crash_at_every_operation_on_the_disk_leaves_the_old_state_or_the_new_one(
    giver: OpenHome, tmp_path: Path
) -> None:
    heights: list[int] = []
    for at in range(400):
        path = tmp_path / str(at)
        where = crashed_at(giver, path, at)
        heights.append(check_usable(giver, path, f"operation {at}: {where}"))
        if where is None:
            break
    else:
        raise AssertionError("it never ends")
    print(f"{len(heights)} crash points, {heights.count(0)} of them before the new state held")
    assert len(heights) > 40
    assert heights == sorted(heights), "there is one point from which on the new state holds"


def test_a_crash_while_remains_are_cleared_away_is_cleared_away_too(giver: OpenHome, tmp_path: Path) -> None:
    """The worst moment to begin with: everything is written, only the marker stands."""
    for at in range(100):
        path = tmp_path / str(at)
        files = CrashingFiles()
        taker = OpenHome(path, two_rollups(), files=files)
        ready = next(
            index
            for index, what in reversed(list(enumerate(_operations(giver, tmp_path / f"dry-{at}"))))
            if what == "remove restoring"
        )
        files.left = ready
        with pytest.raises(Crash):
            join(giver.service, taker.service, giver.application.app_hash)
        files.left = 10**9
        taker.close()
        clearing = CrashingFiles()
        clearing.left = at
        try:
            OpenHome(path, two_rollups(), files=clearing).close()
        except Crash as crash:
            check_usable(giver, path, str(crash))
            continue
        assert check_usable(giver, path, "cleared") == 0
        return
    raise AssertionError("it never ends")


def _operations(giver: OpenHome, path: Path) -> list[str]:
    files = CrashingFiles()
    taker = OpenHome(path, two_rollups(), files=files)
    files.log.clear()
    join(giver.service, taker.service, giver.application.app_hash)
    taker.close()
    return files.log


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_joins_starts_whole(giver: OpenHome, tmp_path: Path) -> None:
    """SIGKILL, so that also what the native core and the block store were doing is cut short."""
    theirs = giver.stored.network_snapshots.newest()
    app_hash = giver.application.app_hash.hex()
    random = Random(20_261_121)
    began = 0
    for turn in range(12):
        path = tmp_path / str(turn)
        child = subprocess.Popen(
            [sys.executable, str(CHILD), str(path), str(theirs.path), app_hash],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"joining\n"
        time.sleep(random.random() * 0.08)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.wait()
        began += rest == b""
        height = check_usable(giver, path, f"turn {turn}")
        assert height == HEIGHT or b"joined" not in rest, "what was answered as taken survives"
    assert began, "no kill came in time"
