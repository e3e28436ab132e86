"""The program of docs/guides/stories.md, as a stranger would copy it, runs on a devnet and prints what it says."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDE = (REPOSITORY / "docs" / "guides" / "stories.md").read_text()
ADDRESS = "http://127.0.0.1:8545"


@pytest.fixture
def url() -> Iterator[str]:
    command = [sys.executable, "-m", "plait.cli.main", "devnet", "--json", "--in-memory"]
    command += ["--port", "0", "--rollup-port-base", "0", "--log-level", "error"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_the_guides_program_prints_what_the_guide_says_twice(url: str, tmp_path: Path) -> None:
    """Twice: a network that has seen it before must not matter."""
    program = "\n\n".join(re.findall(r"^```python\n(.*?)^```", GUIDE, re.M | re.S))
    assert program.count(ADDRESS) == 1
    path = tmp_path / "stories.py"
    path.write_text(program.replace(ADDRESS, url))
    (expected,) = re.findall(r"^```text\n(.*?)^```", GUIDE, re.M | re.S)
    for _ in range(2):
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected
