"""A few threads for reads that take longer than the event loop may wait: calls, traces, log scans, proofs.

The native core releases the GIL in them and its states are immutable, so they delay neither the loop nor the sequencer.
Both the threads and the queue before them are bounded; a call that finds the queue full is refused at once. A read that
runs out of time is answered; its thread comes back when the core is done (gas caps and range limits bound that).

Level 7.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from plait.limits import RPC_CALL_TIMEOUT_S, RPC_READ_THREADS, RPC_READS_WAITING_MAX
from plait.rpc.errors import LIMIT_EXCEEDED, TIMEOUT, RpcError


class Readers:
    """The reader threads of one server."""

    def __init__(self, threads: int = RPC_READ_THREADS, timeout_s: float = RPC_CALL_TIMEOUT_S) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="rpc-read")
        self._timeout_s = timeout_s
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
        future = asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
        self._in_progress += 1
        future.add_done_callback(self._done)
        done, _ = await asyncio.wait((future,), timeout=self._timeout_s)
        if not done:
            self.timed_out += 1
            future.cancel()
            raise RpcError(TIMEOUT, f"request timed out after {self._timeout_s:g} s", {"code": "timeout"})
        return future.result()

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
