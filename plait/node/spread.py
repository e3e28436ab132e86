"""The spread: what clients hand in at one node reaches the pools of all, in batches through CometBFT's pool.

The Spreader collects what this node's pools admit and sends it to the local CometBFT, which gossips it; its intake
(`plait.node.intake`) takes what came from others. A client's first entry is sent at once, those within the next
SPREAD_COLLECT_S together. What CometBFT does not take is sent later. Between a client's answer and the sending an entry
is in this node's memory only. Level 6.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from plait.codec.batch import Cancellation, LabelCancellation
from plait.engines.cometbft.rpc_client import CometRpc, CometRpcError
from plait.errors import PlaitError
from plait.limits import SPREAD_COLLECT_S, SPREAD_RETRY_S
from plait.mempool import Admitted
from plait.mempool.contents import PoolContents, Pools
from plait.mempool.spread import NO_ROLLUP, EntryKind, Key, Outgoing, Spread
from plait.node.intake import BatchCode, Intake, RefusalBudget
from plait.node.logging import get_logger
from plait.types import Hash32, Height, Milliseconds, RollupId, Slot

_IN_CACHE = "already exists in cache"
"""CometBFT's words for an entry of its pool."""
Send = Callable[[bytes], Awaitable[None]]
"""Hands a batch to the local CometBFT (broadcast_tx_async). Raises PlaitError or OSError when it does not take it."""


def send_through(comet: CometRpc) -> Send:
    """Sending to the local CometBFT by its RPC."""

    async def send(data: bytes) -> None:
        try:
            await comet.broadcast_tx_async(data)
        except CometRpcError as error:
            if _IN_CACHE not in error.message:  # an answer that was lost, and sending again: it is there
                raise

    return send


class Spreader:
    """Sends what clients handed in here; has the intake of what came from others.

    Args:
        pools: of this node; it listens to them from now on.
        send: to the local CometBFT.
        now_ms: Unix milliseconds, never falling.
        slot: of the clock.
    """

    def __init__(
        self, pools: Pools, send: Send, *, now_ms: Callable[[], Milliseconds], slot: Callable[[], Slot]
    ) -> None:
        self.spread = Spread(PoolContents(pools))
        self.intake = Intake(self.spread, pools, now_ms=now_ms, slot=slot)
        self._send = send
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._failing = False
        self._send_failures = 0
        self._reports: set[asyncio.Task[None]] = set()
        self._logger = get_logger("spread")
        pools.transactions.listen(self._transactions_admitted)
        pools.bundles.listen_handed_in(self._bundle_handed_in)
        if pools.actions is not None:
            pools.actions.listen(self._action_admitted)
        if pools.l1_items is not None:
            pools.l1_items.listen(self._report_made)

    # ------------------------------------------------------------ called by the pools
    def _transactions_admitted(self, rollup_id: RollupId, entries: Sequence[Admitted]) -> None:
        if not self.intake.is_taking:
            for entry in entries:
                self.spread.collect(Key(EntryKind.TRANSACTION, rollup_id, entry.hash), entry.size)
            self._notify()

    def _bundle_handed_in(self, what: Hash32 | Cancellation | LabelCancellation) -> None:
        if self.intake.is_taking:
            return
        if isinstance(what, Cancellation | LabelCancellation):
            self.spread.collect_cancellation(what)
        else:
            self.spread.collect(Key(EntryKind.BUNDLE, NO_ROLLUP, what), 0)
        self._notify()

    def _action_admitted(self, raw: bytes, hash_: bytes) -> None:
        if not self.intake.is_taking:
            self.spread.collect(Key(EntryKind.ACTION, NO_ROLLUP, hash_), len(raw))
            self._notify()

    def _report_made(self, raw: bytes) -> None:
        """Sends a report by itself; one that is lost is followed by a newer one."""
        task = asyncio.ensure_future(self._send_report(raw))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _send_report(self, raw: bytes) -> None:
        try:
            await self._send(raw)
        except (PlaitError, OSError) as error:
            self._send_failures += 1
            self._logger.warning("l1_report_not_sent", reason=str(error))

    def _notify(self) -> None:
        if self.spread.waiting:
            self._wake.set()
            if self.spread.half_full:
                self._full.set()

    # ------------------------------------------------------------ called by the node
    def on_decided(self, height: Height) -> None:
        """Follows a decided sub-block, after the pools did."""
        self.spread.on_decided(height)
        self._notify()

    async def run(self) -> None:
        """Sends until it is cancelled: the first entry at once, then what came within SPREAD_COLLECT_S together."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._full.clear()
            outgoing = self.spread.next_batch()
            if outgoing is None:
                continue  # nothing waits, or there is no room until `on_decided`
            if not await self._send_batch(outgoing):
                await asyncio.sleep(SPREAD_RETRY_S)
            elif not self.spread.half_full:
                await self._collect()
            self._notify()

    async def _collect(self) -> None:
        try:
            async with asyncio.timeout(SPREAD_COLLECT_S):
                await self._full.wait()
        except TimeoutError:
            return

    async def _send_batch(self, outgoing: Outgoing) -> bool:
        try:
            await self._send(outgoing.data)
        except (PlaitError, OSError) as error:
            self.spread.failed(outgoing)
            self._send_failures += 1
            if not self._failing:
                self._logger.warning("batch_not_sent", reason=str(error), entries=len(outgoing.keys))
            self._failing = True
            return False
        self._failing = False
        return True

    def statistics(self) -> dict[str, int]:
        """Counters for metrics."""
        return {
            **self.spread.statistics(),
            **self.intake.statistics(),
            "send_failures": self._send_failures,
        }


__all__ = ["BatchCode", "Intake", "Pools", "RefusalBudget", "Send", "Spreader", "send_through"]
