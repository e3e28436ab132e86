"""`tools/test.sh` ends and says why, whatever a test does to the process that runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
OTHER = "import time\ndef test_one(): pass\ndef test_two(): time.sleep(0.2)\n"
FAILING = "def test_wrong(): assert 1 == 2\n"
CRASHES = {
    "segmentation fault": "import faulthandler\ndef test_ends(): faulthandler._sigsegv()\ndef test_after(): pass\n",
    "stack of C": (
        "import sys, msgspec\n"
        "def test_ends():\n    sys.setrecursionlimit(10**6)\n    msgspec.json.decode(b'[' * 10**7)\n"
        "def test_after(): pass\n"
    ),
    "a child that holds the pipes": (
        "import faulthandler, os, time, pathlib\n"
        "def test_ends():\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n        time.sleep(600)\n        os._exit(0)\n"
        "    pathlib.Path(__file__).with_name('child').write_text(str(pid))\n"
        "    faulthandler._sigsegv()\n"
        "def test_after(): pass\n"
    ),
}


def run(directory: Path, test: str, phase_s: int) -> tuple[int, str, float]:
    """Exit code, output and seconds of a run over a crashing file, a failing one and others."""
    (directory / "test_ends.py").write_text(test)
    (directory / "test_a_failing.py").write_text(FAILING)
    for number in range(4):
        (directory / f"test_other{number}.py").write_text(OTHER)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    began = time.monotonic()
    output = directory / "output"  # a file: what outlives the run would keep a pipe open
    with output.open("wb") as file:
        done = subprocess.run(
            [str(ROOT / "tools" / "test.sh"), "-p", "no:cacheprovider", "-c", os.devnull, str(directory)],
            env={**environment, "PLAIT_TEST_PHASE_S": str(phase_s), "PLAIT_TEST_WORKERS": "2"},
            stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False, timeout=300,
        )  # fmt: skip
    return done.returncode, output.read_text(), time.monotonic() - began


@pytest.mark.parametrize("kind", CRASHES)
def test_a_crashed_worker_ends_the_run_and_is_named_with_its_stack(tmp_path: Path, kind: str) -> None:
    code, said, seconds = run(tmp_path, CRASHES[kind], 200)
    child = tmp_path / "child"
    if child.exists():
        os.kill(int(child.read_text()), signal.SIGKILL)
    assert code == 1, said
    assert "Fatal Python error: Segmentation fault" in said
    assert "in test_ends" in said, "the stack names the test"
    assert "test_ends.py::test_ends" in said.rpartition("short test summary info")[2]
    assert seconds < 150


def test_a_test_that_hangs_in_c_ends_the_run_with_what_failed_before(tmp_path: Path) -> None:
    """It holds the interpreter, so that no time limit of its own can end it."""
    hanging = "import ctypes, time\ndef test_ends():\n    time.sleep(2)\n    ctypes.PyDLL(None).sleep(500)\n"
    code, said, _ = run(tmp_path, hanging, 25)
    assert code not in {0, 1}, said
    assert "FAILED so far: " in said
    assert "test_a_failing.py::test_wrong" in said.rpartition("short test summary info")[2]
    assert "the phase took too long" in said
