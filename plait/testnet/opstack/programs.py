"""Finds the OP Stack's programs and anvil, in exactly the versions that this Plait was tried with.

Looked for in this order: the variable named below, $PLAIT_CACHE (default ~/.cache/plait) where tools/build_tools.py
puts what it builds, and, in a checkout of the repository, that tool itself, which fetches and builds what is missing.

    op-geth  PLAIT_OP_GETH     op-node  PLAIT_OP_NODE     anvil  PLAIT_ANVIL
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from plait.errors import ConfigurationError
from plait.limits import TOOL_BUILD_S_MAX

OP_GETH_VERSION: Final = "v1.101702.3"
OP_NODE_VERSION: Final = "v1.16.11"
BUILD_TOOLS: Final = Path(__file__).resolve().parents[3] / "tools" / "build_tools.py"
"""There only in a checkout of the repository."""


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of the executables."""

    op_geth: Path
    op_node: Path
    anvil: Path

    @property
    def cast(self) -> str:
        """The wallet that comes with anvil: its name where it is on the PATH, else its path, else its name."""
        beside = Path(str(self.anvil).replace("anvil", "cast"))
        return "cast" if shutil.which("cast") or not beside.exists() else str(beside)


def find_programs(say: Callable[[str], object] = str) -> Programs:
    """All programs, built where they are missing and can be.

    Args:
        say: told before something is built, which takes minutes.

    Raises:
        ConfigurationError: `program_missing`, with what to do.
    """
    cache = Path(os.environ.get("PLAIT_CACHE") or Path.home() / ".cache" / "plait")
    return Programs(
        op_geth=_find("op-geth", "PLAIT_OP_GETH", cache / f"op-geth-{OP_GETH_VERSION}" / "geth", say),
        op_node=_find("op-node", "PLAIT_OP_NODE", cache / f"op-node-{OP_NODE_VERSION}" / "op-node", say),
        anvil=_find("foundry", "PLAIT_ANVIL", None, say),
    )


def _find(tool: str, variable: str, cached: Path | None, say: Callable[[str], object]) -> Path:
    named = os.environ.get(variable)
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigurationError(f"{variable} names {named}, which is not a program.", code="program_missing")
        return Path(named)
    if cached is not None and os.access(cached, os.X_OK):
        return cached
    if not BUILD_TOOLS.exists():
        raise ConfigurationError(
            f"{_NAMES[tool]} is not installed; name the program with {variable}, or run this from a checkout of the "
            "repository, whose `make opstack` builds it.",
            code="program_missing",
        )
    if cached is not None:
        say(f"Building {_NAMES[tool]} once; this takes some minutes.")
    return _built(tool)


def _built(tool: str) -> Path:
    try:
        answer = subprocess.run(  # noqa: S603 - our own tool with a fixed word
            [sys.executable, str(BUILD_TOOLS), tool],
            capture_output=True, text=True, check=False, timeout=TOOL_BUILD_S_MAX,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{_NAMES[tool]} could not be built: {error}.", code="program_missing") from error
    if answer.returncode != 0:
        lines = [line for line in answer.stderr.splitlines() if line.startswith("build_tools: ")]
        reason = lines[-1].removeprefix("build_tools: ") if lines else "its build failed"
        raise ConfigurationError(f"{_NAMES[tool]} could not be built: {reason}. {_NEEDS[tool]}", code="program_missing")
    return Path(answer.stdout.splitlines()[0])


_GO_SENTENCE: Final = "Install Go 1.24 or newer and start again; the result is kept."
_NAMES: Final = {"op-geth": f"op-geth {OP_GETH_VERSION}", "op-node": f"op-node {OP_NODE_VERSION}", "foundry": "anvil"}
_NEEDS: Final = {
    "op-geth": _GO_SENTENCE,
    "op-node": _GO_SENTENCE,
    "foundry": "Install Node.js 20 or newer with npm and start again.",
}

__all__ = ["Programs", "find_programs"]
