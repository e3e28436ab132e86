"""A few threads for reads that take longer than the event loop may wait: calls, traces, log scans, proofs.

The native core releases the GIL in them and its states are immutable, so they delay neither the loop nor the sequencer.
Rollups whose state another node holds have threads of their own (`remote`): a node that is slow holds up reads of its
own rollups. There even the smallest read runs in a thread, and waits for the node no longer than its call may take.
What is read stays in memory and on the disk, so how much may be read for clients is bounded, per call and together.
Both the threads and the queue before them are bounded; a call that finds the queue full is refused at once. A read that
runs out of time is answered; its thread comes back when the core is done (gas caps and range limits bound that).

Level 7.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from plait.limits import (
    REMOTE_CALL_PLACES_MAX,
    REMOTE_CLIENT_PLACES_MAX,
    REMOTE_CLIENT_PLACES_PER_S,
    RPC_CALL_TIMEOUT_S,
    RPC_READ_THREADS,
    RPC_READS_WAITING_MAX,
)
from plait.patience import Purse, patience
from plait.rpc.errors import LIMIT_EXCEEDED, TIMEOUT, RpcError


class Readers:
    """The reader threads of one server.

    Args:
        threads: of each kind.
        timeout_s: of one read.
        is_remote: whether they are for state that another node holds.
        admits: whether they look senders up of what is handed in: calls of others cannot use up their threads.
    """

    def __init__(
        self,
        threads: int = RPC_READ_THREADS,
        timeout_s: float = RPC_CALL_TIMEOUT_S,
        *,
        is_remote: bool = False,
        admits: bool = False,
    ) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="rpc-remote" if is_remote else "rpc-read")
        self._timeout_s = timeout_s
        self._is_remote = is_remote
        self._purse = Purse(REMOTE_CLIENT_PLACES_MAX, REMOTE_CLIENT_PLACES_PER_S, REMOTE_CALL_PLACES_MAX)
        self.remote: Readers = self if is_remote else Readers(threads, timeout_s, is_remote=True)
        """The threads for state that another node holds."""
        alone = admits or not is_remote
        self.admission: Readers = self if alone else Readers(threads, timeout_s, is_remote=True, admits=True)
        """The threads in which senders are looked up, with a purse of their own."""
        self._in_progress = 0
        self.refused = 0
        self.timed_out = 0

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Runs a function in a reader thread.

        Raises:
            RpcError: LIMIT_EXCEEDED when too many wait, TIMEOUT after RPC_CALL_TIMEOUT_S; and whatever the function
            raises.
        """
        if self._in_progress >= RPC_READS_WAITING_MAX:
            self.refused += 1
            raise RpcError(
                LIMIT_EXCEEDED, "the node is busy with other reads; try again in a moment", {"code": "reads_full"}
            )
        if self._is_remote:
            function, args = self._patiently, (function, time.monotonic() + self._timeout_s, args)
        future = asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
        self._in_progress += 1
        future.add_done_callback(self._done)
        done, _ = await asyncio.wait((future,), timeout=self._timeout_s)
        if not done:
            self.timed_out += 1
            future.cancel()
            raise RpcError(TIMEOUT, f"request timed out after {self._timeout_s:g} s", {"code": "timeout"})
        return future.result()

    def _patiently(self, function: Callable[..., Any], end_s: float, args: Sequence[Any]) -> Any:
        """The part of the caller's time that is left when a thread comes to it is what the node may take."""
        with patience(end_s - time.monotonic(), self._purse):
            return function(*args)

    def _done(self, future: "asyncio.Future[Any]") -> None:
        self._in_progress -= 1
        if not future.cancelled():
            future.exception()

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics."""
        return {"in_progress": self._in_progress, "refused": self.refused, "timed_out": self.timed_out}

    def close(self) -> None:
        """Lets running reads end and takes no more."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for others in (self.remote, self.admission):
            if others is not self:
                others.close()
