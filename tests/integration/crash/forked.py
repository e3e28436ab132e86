"""Processes that begin with Plait imported: a server imports it once and forks for every start.

A new interpreter spends most of a second of processor time on imports before the first line of a node runs, and the
tests of this directory start a hundred nodes. A forked process is a process like any other: its own memory, its own
files, SIGKILL. What an interpreter of its own could change (the seed of hashes) it shares with the others; so some
starts of every test stay real ones.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["plait.cli.devnet", "plait.cli.main", "plait.node.node", "plait.rpc", "sim.wallet"])


class Forked:
    """A running process.

    Args:
        target: what it runs, importable by name; what it prints can be read, what it raises goes to `errors`.
        arguments: of the target.
        errors: file for standard error; None for this process's own.
    """

    def __init__(self, target: Callable[..., Any], *arguments: Any, errors: Path | None = None) -> None:
        self._output, theirs = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_run, args=(theirs, errors, target, arguments))
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self._lines = os.fdopen(os.dup(self._output.fileno()), "rb")
        self._output.close()

    async def readline(self) -> bytes:
        """The next line that it prints; empty when it has ended."""
        return await asyncio.to_thread(self._lines.readline)

    async def wait(self) -> int:
        """The exit code, negative for a signal."""
        return await asyncio.to_thread(self.ended)

    def ended(self) -> int:
        """As `wait`, for those who have no loop."""
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        self._lines.close()
        return code

    def read(self) -> bytes:
        """All that it prints, once it has ended."""
        return self._lines.read()


def _run(
    output: multiprocessing.connection.Connection,
    errors: Path | None,
    target: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.dup2(output.fileno(), sys.stdout.fileno())
    output.close()
    if errors is not None:
        with errors.open("wb") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())
    target(*arguments)
