"""A pytest plugin for runs with xdist: whatever a test does to its worker process, the run ends and says what failed.

    - A failure is named on a line of its own as soon as it is known, not only at the end.
    - A worker that died is noticed by its exit, after WORKER_GONE_S, also when a process that it forked holds its pipes
      open; without that xdist waits for ever.
    - SIGTERM ends the run with its summary (`timeout` sends it when a phase takes too long), and exit code 2.

`tools/test.sh` loads it and lets xdist start no other worker in the place of one that died: with `--dist loadfile` it
hands the new one nothing, and waits for ever too.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import Any

import pytest

WORKER_GONE_S = 10.0
"""For xdist to notice by itself."""
_LOOK_S = 2.0


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begins to watch, in the process that has the workers."""
    if hasattr(session.config, "workerinput"):
        return
    signal.signal(signal.SIGTERM, _interrupt)
    session.config.pluginmanager.register(_Names())
    if session.config.pluginmanager.hasplugin("dsession"):
        workers = session.config.pluginmanager.getplugin("dsession")
        threading.Thread(target=_watch, args=(workers,), daemon=True).start()


class _Names:
    """Names failures at once."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of a test, its set-up, or the worker that ran it."""
        if report.failed:
            print(f"\nFAILED so far: {report.nodeid} ({report.when})", file=sys.stderr, flush=True)


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(f"{signal.Signals(number).name}: the phase took too long, or somebody ended it")


def _watch(session: Any) -> None:
    """Tells xdist's main loop about workers that are gone, in the words in which it hears of it from elsewhere."""
    gone: dict[Any, float] = {}
    told: set[Any] = set()
    while True:
        time.sleep(_LOOK_S)
        for node in tuple(session._active_nodes):
            process = getattr(node.gateway._io, "popen", None)
            if process is None or process.poll() is None or node in told:
                continue
            if time.monotonic() - gone.setdefault(node, time.monotonic()) > WORKER_GONE_S:
                told.add(node)
                node._down = True  # so that it is said once
                session.queue.put(("errordown", {"node": node, "error": f"exit code {process.returncode}"}))
