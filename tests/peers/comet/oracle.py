"""The Python side of the oracle: a process that answers with CometBFT's own code, one JSON line per question."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


class Refused(Exception):
    """CometBFT's own error."""


class Oracle:
    """A running oracle. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen([str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, op: str, **fields: Any) -> Any:
        """One question. Raises Refused with CometBFT's sentence."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **fields}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the oracle ended with {self._process.wait()} at {op}"
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["ok"]

    def ask_and_kill(self, seconds: float, op: str, **fields: Any) -> None:
        """A question whose answer nobody reads: the process is killed so many seconds after it was asked."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": op, **fields}).encode() + b"\n")
        self._process.stdin.flush()
        time.sleep(seconds)
        self._process.kill()
        self._process.communicate()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


def oracle_path() -> Path:
    """The oracle's program. Without Go the test that asks is skipped; in CI it fails."""
    sys.path.insert(0, str(TOOLS))
    import build_tools

    try:
        return build_tools.build_comet_oracle()
    except build_tools.ToolMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@contextmanager
def running() -> Iterator[Oracle]:
    """An oracle for the tests of one module."""
    oracle = Oracle(oracle_path())
    try:
        yield oracle
    finally:
        oracle.close()
