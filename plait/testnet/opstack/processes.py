"""One foreign program of a local network of OP Stack rollups: started, waited for, stopped, killed.

Every program is the leader of its own process group, so that a Ctrl-C of the terminal reaches the supervisor only,
which then stops everybody in order. What a supervisor that was killed left behind is found by pid files at the next
start: a process whose command line names the same directory is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from plait.errors import Unavailable
from plait.limits import OPSTACK_READY_S, OPSTACK_STOP_S

ProcessState = Literal["stopped", "starting", "running", "died"]
_POLL_S: Final = 0.1
_LOG_TAIL_BYTES: Final = 4_096


class Process:
    """A program.

    Args:
        name: of its log and pid file, and in sentences.
        command: what is run; it must name something in `directory`, by which a left-over process is recognised.
        directory: of the network; logs are in its `logs`, pid files in its `run`.
        ready: whether the program answers; an exception counts as no.
        stop_signal: asks it to end.
        environment: variables besides ours.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        ready: Callable[[], Awaitable[bool]],
        stop_signal: signal.Signals = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.state: ProcessState = "stopped"
        self.exit_code: int | None = None
        self.starts = 0
        self.log = directory / "logs" / f"{name}.log"
        self._directory = directory
        self._pid_file = directory / "run" / f"{name}.pid"
        self._ready = ready
        self._stop_signal = stop_signal
        self._environment = dict(environment or {})
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._asked_to_end = False

    @property
    def pid(self) -> int | None:
        """None when it does not run."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Starts the program and waits until it answers.

        Raises:
            Unavailable: `program_did_not_start`, with the end of its log.
        """
        if self.pid is not None:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        self.exit_code, self._asked_to_end = None, False
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self._environment},
            )  # fmt: skip
        self._pid_file.write_text(f"{self._process.pid}\n")
        self.state = "starting"
        self._watcher = asyncio.create_task(self._watch(self._process), name=f"watch {self.name}")
        try:
            await asyncio.wait_for(self._answers(), OPSTACK_READY_S)
        except TimeoutError:
            self.kill()
            await self.ended()
            raise Unavailable(
                f"{self.name} did not answer within {OPSTACK_READY_S} s: {self.last_words()} (its log: {self.log})",
                code="program_did_not_start",
            ) from None
        if self.state == "starting":
            self.state = "running"

    async def stop(self) -> None:
        """Asks it to end, and kills it when it does not. Safe when it does not run."""
        if self.pid is None:
            return
        self._asked_to_end = True
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(self._stop_signal)
        try:
            await asyncio.wait_for(self.ended(), OPSTACK_STOP_S)
        except TimeoutError:
            self.kill()
            await self.ended()

    def kill(self) -> None:
        """SIGKILL: no handler, no flush."""
        self._asked_to_end = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def ended(self) -> int | None:
        """Returns when the process is gone: its exit code."""
        if self._watcher is not None:
            await asyncio.wait([self._watcher])
        return self.exit_code

    def last_words(self) -> str:
        """The last line of its log."""
        try:
            with self.log.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - _LOG_TAIL_BYTES))
                lines = log.read().decode(errors="replace").split("\n")
        except OSError:
            lines = []
        return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")

    async def _answers(self) -> None:
        while True:
            if self.pid is None:
                await self.ended()
                raise Unavailable(
                    f"{self.name} did not start: {self.last_words()} (its log: {self.log})",
                    code="program_did_not_start",
                )
            with contextlib.suppress(Exception):
                if await self._ready():
                    return
            await asyncio.sleep(_POLL_S)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        self.exit_code = await process.wait()
        self._pid_file.unlink(missing_ok=True)
        self.state = "stopped" if self._asked_to_end else "died"


def end_left_over(directory: Path) -> list[str]:
    """Kills processes that an earlier supervisor of this directory left behind: their names."""
    ended: list[str] = []
    for file in sorted((directory / "run").glob("*.pid")):
        with contextlib.suppress(ValueError, OSError):
            pid = int(file.read_text())
            if str(directory.resolve()) in _command_line(pid):
                os.kill(pid, signal.SIGKILL)
                ended.append(file.stem)
        file.unlink(missing_ok=True)
    return ended


def _command_line(pid: int) -> str:
    """Of a process; empty when there is none."""
    found = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["ps", "-o", "command=", "-ww", "-p", str(pid)],  # noqa: S607 - wherever the system keeps it
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout


__all__ = ["Process", "ProcessState", "end_left_over"]
