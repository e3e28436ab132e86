"""The Python side of the oracle: a process that answers with op-node's own code, one JSON line per question."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


class Refused(Exception):
    """op-node's own error."""


class Oracle:
    """A running oracle. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen([str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, op: str, **fields: Any) -> Any:
        """One question; bytes become hex. Raises Refused with op-node's sentence."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = json.dumps({"op": op, **fields}, default=lambda value: "0x" + value.hex())
        self._process.stdin.write(question.encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the oracle ended with {self._process.wait()} at {op}"
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["ok"]

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


@contextmanager
def running() -> Iterator[Oracle]:
    """An oracle for the tests of one module. Without Go they are skipped; in CI that fails."""
    sys.path.insert(0, str(TOOLS))
    import build_tools

    try:
        path = build_tools.build_opstack_oracle()
    except build_tools.ToolMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    oracle = Oracle(path)
    try:
        yield oracle
    finally:
        oracle.close()
