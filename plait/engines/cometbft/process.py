"""CometBFT as a child process: started after the socket listens, watched, stopped, never left behind.

Specification
    - Runs with the node's home as its directory, in the node's own process group, on half of the machine's cores unless
      GOMAXPROCS says otherwise: the other half executes transactions, and fewer idle threads cost less.
    - What it writes goes to cometbft/cometbft.log, bounded; errors, and a few lines of progress, also to the node's
      log, a bounded number per minute.
    - When it ends without having been asked to, `wait` says so with its last words.
    - When its consensus or its state sync has failed it stays alive, silent for good (consensus/state.go,
      receiveRoutine; node/setup.go, startStateSync): it is ended then, with what it said.
    - A node that was killed leaves its child for the moment until that notices the closed sockets. The next start ends
      what cometbft.pid names before it begins, because two of them cannot share the files.

Level 5.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from plait.engines.cometbft.home import FOLDER
from plait.errors import Unavailable
from plait.limits import COMET_LOG_BYTES_MAX, COMET_LOG_LINES_PER_MINUTE_MAX, COMET_STOP_S

LINE_BYTES_MAX = 64 * 1024
_LAST_WORDS = 12
_FATAL = (
    "CONSENSUS FAILURE",
    "State sync failed",
    "Failed to bootstrap node with new state",
    "Failed to store last seen commit",
    "Failed to switch to block sync",
)
"""How the lines begin after which CometBFT lives on and does nothing."""
_OLD_CHILD_S = 15.0

Say = Callable[[str, str], None]
"""Told a level ("info", "warning", "error") and a line for the node's log."""


class CometProcess:
    """The child. `start`, then `wait` beside other work, then `stop`.

    Args:
        program: CometBFT.
        home: of the node.
        say: where its important lines go.
        arguments: of `cometbft`, for tests.
    """

    def __init__(self, program: Path, home: Path, say: Say, *, arguments: tuple[str, ...] = ()) -> None:
        self._command = [str(program), "start", "--home", str((home / FOLDER).resolve()), *arguments]
        self._home = home
        self._say = say
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._log: BinaryIO | None = None
        self._log_bytes = 0
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._fatal = ""
        self._minute = 0
        self._lines = 0
        self.stopping = False

    @property
    def pid(self) -> int | None:
        """Of the child, once started."""
        return None if self._child is None else self._child.pid

    async def start(self) -> None:
        """Starts the child. Raises Unavailable (`cometbft_failed`)."""
        await asyncio.to_thread(end_old_child, self._home)
        log = self._home / FOLDER / "cometbft.log"
        self._log = log.open("ab")
        self._log_bytes = log.stat().st_size
        try:
            self._child = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._home,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=LINE_BYTES_MAX,
                env={"GOMAXPROCS": str(max((os.cpu_count() or 1) // 2, 1)), **os.environ},
            )
        except OSError as error:
            raise Unavailable(f"CometBFT cannot be started: {error}", code="cometbft_failed") from error
        _pid_file(self._home).write_text(f"{self._child.pid}\n")
        self._reader = asyncio.get_running_loop().create_task(self._read(), name="cometbft-log")

    async def wait(self) -> None:
        """Returns when the child has ended after `stop`. Raises Unavailable (`cometbft_failed`) when it ends
        otherwise."""
        assert self._child is not None
        assert self._reader is not None
        code = await self._child.wait()
        await asyncio.wait({self._reader})
        if self._fatal:
            raise Unavailable(
                f"CometBFT cannot go on: {self._fatal}. All of it is in {FOLDER}/cometbft.log.",
                code="cometbft_failed",
                exit=code,
            )
        if not self.stopping:
            raise Unavailable(
                f"CometBFT ended by itself ({_ending(code)}). Its last words: "
                f"{' | '.join(list(self._last_words)[-4:]) or 'none'}. All of them are in {FOLDER}/cometbft.log.",
                code="cometbft_failed",
                exit=code,
            )

    async def stop(self) -> None:
        """Asks the child to end, and kills it when it does not. Safe to call twice."""
        self.stopping = True
        if self._child is None:
            return
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGCONT)
                self._child.terminate()
            try:
                await asyncio.wait_for(self._child.wait(), COMET_STOP_S)
            except TimeoutError:
                self._say("warning", f"CometBFT did not end within {COMET_STOP_S} s and is killed")
                with contextlib.suppress(ProcessLookupError):
                    self._child.kill()
                await self._child.wait()
        if self._reader is not None:
            await asyncio.wait({self._reader})
        if self._log is not None:
            self._log.close()
            self._log = None
        _pid_file(self._home).unlink(missing_ok=True)

    # ------------------------------------------------------------ its words
    async def _read(self) -> None:
        assert self._child is not None
        assert self._child.stdout is not None
        stream = self._child.stdout
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    self._take(end.partial)
                return
            except asyncio.LimitOverrunError as long:
                line = await stream.readexactly(long.consumed)
            self._take(line)

    def _take(self, line: bytes) -> None:
        self._write(line)
        level, text = _told(line)
        if text:
            self._last_words.append(text)
        if text.startswith(_FATAL) and not self._fatal:
            self._fatal = text
            assert self._child is not None
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
        if level == "debug" or self.stopping:
            return
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            left_out = self._lines - COMET_LOG_LINES_PER_MINUTE_MAX
            if left_out > 0:
                self._say("warning", f"{left_out} lines of CometBFT were left out; its own log has them")
            self._minute, self._lines = minute, 0
        self._lines += 1
        if self._lines <= COMET_LOG_LINES_PER_MINUTE_MAX:
            self._say(level, text)

    def _write(self, line: bytes) -> None:
        if self._log is None:
            return
        with contextlib.suppress(OSError):  # a full disk must not end what still runs
            if self._log_bytes + len(line) > COMET_LOG_BYTES_MAX:
                path = self._home / FOLDER / "cometbft.log"
                self._log.close()
                path.replace(path.with_name("cometbft.log.1"))
                self._log = path.open("ab")
                self._log_bytes = 0
            self._log.write(line)
            self._log.flush()
            self._log_bytes += len(line)


def _told(line: bytes) -> tuple[str, str]:
    """(level for the node's log, text) of a line: CometBFT's JSON, or anything else, such as a panic."""
    text = line.decode(errors="replace").strip()
    try:
        fields: Any = json.loads(text)
    except ValueError:
        return "error" if text else "debug", text[:500]
    if not isinstance(fields, dict):
        return "debug", text[:500]
    level = str(fields.pop("level", "info"))
    message = str(fields.pop("_msg", fields.pop("msg", "")))
    fields.pop("ts", None)
    values = " ".join(f"{key}={str(value)[:200]}" for key, value in fields.items())
    return {"error": "warning", "info": "info"}.get(level, "debug"), f"{message} {values}".strip()[:500]


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


# ---------------------------------------------------------------- what a killed node left behind
def _pid_file(home: Path) -> Path:
    return home / FOLDER / "cometbft.pid"


def end_old_child(home: Path) -> None:
    """Kills the CometBFT of an earlier run of this home, if it still runs, and waits for its end.

    The number in the file counts only while a process of that number was started for this very home.

    Raises:
        Unavailable: `cometbft_still_runs` when it does not end.
    """
    try:
        pid = int(_pid_file(home).read_text())
    except (OSError, ValueError):
        return
    root = os.fsencode(str((home / FOLDER).resolve()))
    deadline = time.monotonic() + _OLD_CHILD_S
    while _is_of_home(pid, root):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"The CometBFT of an earlier run (process {pid}) does not end; end it before the node is started.",
                code="cometbft_still_runs",
                pid=pid,
            )
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    _pid_file(home).unlink(missing_ok=True)


def _is_of_home(pid: int, root: bytes) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return root in command.split(b"\0")


__all__ = ["CometProcess", "end_old_child"]
