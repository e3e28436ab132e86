"""One node of a local network: a process group of `plait node` and its CometBFT, started, stopped and hurt.

The node's first line on standard output is its description (JSON); its logs go to a file. Its standard input is a
pipe that nothing is written to: when whoever holds the other end dies, the node reads the end and stops, so that no
orphan stays however the supervisor ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from plait.errors import Unavailable
from plait.limits import TESTNET_READY_S, TESTNET_STOP_S

MemberState = Literal["stopped", "starting", "running", "paused", "died"]
_REASON_BYTES_MAX = 4_096


class Member:
    """A node process.

    Args:
        name: of the node.
        home: its directory.
        command: what is run; it prints one line of JSON when it is ready.
        changed: called after every change of `state`.
        environment: variables besides those of this process.
    """

    def __init__(
        self,
        name: str,
        home: Path,
        command: Sequence[str],
        *,
        changed: Callable[[], None] = lambda: None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.home = home
        self.command = tuple(command)
        self.state: MemberState = "stopped"
        self.description: dict[str, Any] = {}
        """What the node said when it was ready."""
        self.exit_code: int | None = None
        self.starts = 0
        self._changed = changed
        self._environment = dict(environment or {})
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._asked_to_end = False
        self._failure = ""

    @property
    def pid(self) -> int | None:
        """Of the node; None when it does not run."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Starts the process and waits until it is ready.

        Raises:
            Unavailable: `node_running`, or `node_did_not_start` with the end of its log.
        """
        if self.pid is not None:
            raise Unavailable(f"{self.name} runs already.", code="node_running")
        self.home.mkdir(parents=True, exist_ok=True)
        self._asked_to_end = False
        self._failure = ""
        self.exit_code = None
        self.starts += 1
        with (self.home / "node.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self._environment},
                limit=1 << 20,
            )
        self._set("starting")
        self._watcher = asyncio.create_task(self._watch(self._process), name=f"watch {self.name}")
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), TESTNET_READY_S)
        except TimeoutError:
            self.kill()
            raise Unavailable(
                f"{self.name} was not ready after {TESTNET_READY_S} s: {self.last_words()}", code="node_did_not_start"
            ) from None
        if not line:
            await self.ended()
            raise Unavailable(f"{self.name} did not start: {self.last_words()}", code="node_did_not_start")
        said = msgspec.json.decode(line)
        if "error" in said:
            reason = said["error"]
            await self.ended()
            raise Unavailable(f"{self.name} did not start: {reason['message']}", code=str(reason["code"]))
        self.description = said
        self._reader = asyncio.create_task(self._read(self._process.stdout), name=f"read {self.name}")
        if self.state == "starting":
            self._set("running")

    async def stop(self) -> None:
        """Asks it to stop, and kills it when it does not within TESTNET_STOP_S. Safe when it does not run."""
        if self.pid is None:
            return
        self._asked_to_end = True
        self._signal(signal.SIGCONT)
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)  # the node stops its CometBFT itself, after the last height
        try:
            await asyncio.wait_for(self.ended(), TESTNET_STOP_S)
        except TimeoutError:
            self.kill()
            await self.ended()

    def kill(self) -> None:
        """SIGKILL to the node and its CometBFT: no handler, no flush."""
        self._asked_to_end = True
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP to both. Raises Unavailable (`node_not_running`)."""
        self._require()
        self._signal(signal.SIGSTOP)
        self._set("paused")

    def resume(self) -> None:
        """SIGCONT to both."""
        if self.state == "paused":
            self._signal(signal.SIGCONT)
            self._set("running")

    async def ended(self) -> int | None:
        """Returns when the process is gone: its exit code."""
        if self._watcher is not None:
            await asyncio.wait([self._watcher])
        return self.exit_code

    def last_words(self) -> str:
        """Why it ended, as it said itself; else the last line of its log."""
        if self._failure:
            return self._failure
        try:
            with (self.home / "node.log").open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - _REASON_BYTES_MAX))
                lines = log.read().decode(errors="replace").split("\n")
        except OSError:
            lines = []
        return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")

    async def _read(self, output: asyncio.StreamReader) -> None:
        """What it says after it was ready is why it ends."""
        async for line in output:
            with contextlib.suppress(msgspec.MsgspecError, KeyError, TypeError):
                reason = msgspec.json.decode(line)["error"]
                self._failure = f"{reason['message']} ({reason['code']})"

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        self.exit_code = await process.wait()
        if self._reader is not None:
            await self._reader
            self._reader = None
        self._signal(signal.SIGKILL)  # nothing of its group stays behind
        self._set("stopped" if self._asked_to_end else "died")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _require(self) -> None:
        if self.pid is None:
            raise Unavailable(f"{self.name} does not run.", code="node_not_running")

    def _set(self, state: MemberState) -> None:
        self.state = state
        self._changed()
