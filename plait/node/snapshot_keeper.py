"""When a running node writes snapshots, and what it forgets.

    its own              after so many transactions or heights, and at a clean stop: shorten the next start
    for other nodes      at every multiple of `network_snapshot_every_heights`: let a new node join
    the decided log      with `keep_heights`, segments below what the snapshots and that bound need are removed

The state is frozen where a height ends, which costs a pointer per rollup; everything is written in a thread while the
next heights are decided. One snapshot is written at a time; one that fails costs time later and nothing else.
"""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

from plait.errors import PlaitError
from plait.limits import SNAPSHOT_EVERY_HEIGHTS
from plait.native import NativeError, Store
from plait.node.config import NodeConfig
from plait.node.metrics import Metrics
from plait.node.network_snapshot import FrozenState, freeze
from plait.node.remotes import Remotes
from plait.node.restore import write_snapshot
from plait.node.state_sync import SnapshotService, SnapshotStatistics
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.storage import DecidedLog, MemoryLog, Snapshots
from plait.types import Height


class SnapshotKeeper:
    """Writes one node's snapshots.

    Args:
        application: the node's.
        snapshots: its own ones; None for a node in memory.
        service: gives and takes network snapshots; None for a node in memory.
        since_heights, since_transactions: replayed at the start, so not in a snapshot yet.
        remotes: rollups whose state another node holds; what was read of it is kept until a snapshot holds it.
    """

    def __init__(
        self,
        application: Application,
        *,
        config: NodeConfig,
        log: DecidedLog | MemoryLog,
        store: Store,
        snapshots: Snapshots | None,
        service: SnapshotService | None,
        metrics: Metrics,
        logger: Any,
        since_heights: int,
        since_transactions: int,
        remotes: Remotes | None = None,
    ) -> None:
        self.service = service
        self._application = application
        self._config = config
        self._log = log
        self._store = store
        self._snapshots = snapshots if config.snapshots else None
        self._metrics = metrics
        self._logger = logger
        self._since_heights = since_heights
        self._since_transactions = since_transactions
        self._remotes = remotes if remotes is not None else Remotes(None)
        self._remotes.prune([] if snapshots is None else snapshots.heights())
        self._due: FrozenState | None = None
        self._wanted = asyncio.Event()
        self._writing = threading.Lock()
        self._closed = False

    def on_decided(self, effect: SubBlockDecided) -> None:
        """To be called on the event loop, where a height ends and before the next one begins."""
        self._since_heights += 1
        self._since_transactions += effect.transactions
        if (
            self._since_heights >= SNAPSHOT_EVERY_HEIGHTS
            or self._since_transactions >= self._config.snapshot_every_transactions
            or self._remotes.wants_snapshot()
        ):
            self._freeze_own()
            self._wanted.set()
        if self.service is not None and self.service.on_decided(effect.height):
            self._wanted.set()

    async def run(self) -> None:
        """Writes what is due until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.to_thread(self.write_due)

    def write_now(self) -> None:
        """Writes the node's own snapshot of the committed state, if it moved since the last. No height is in
        progress."""
        self._freeze_own()
        self.write_due()

    def close(self) -> None:
        """Waits for what is being written; writes the last own snapshot. The engine has ended."""
        self._freeze_own()
        self._closed = True
        self.write_due()

    def write_due(self) -> None:
        """Writes what is due. In any thread, one at a time."""
        with self._writing:
            self._write_own()
            if self.service is not None and not self._closed:
                self._take(self.service)
            if isinstance(self._log, DecidedLog) and self._config.keep_heights is not None:
                self._prune(self._log, self._config.keep_heights)

    def statistics(self) -> Mapping[str, int]:
        """Numbers for metrics."""
        counts = SnapshotStatistics() if self.service is None else self.service.statistics()
        return {name: getattr(counts, name) for name in counts.__struct_fields__}

    # ------------------------------------------------------------ inside
    def _freeze_own(self) -> None:
        """In any thread; wakes nobody."""
        if self._snapshots is None or not self._since_heights:
            return
        self._since_heights = self._since_transactions = 0
        self._due = freeze(self._application)

    def _write_own(self) -> None:
        state, self._due = self._due, None
        if state is None or self._snapshots is None:
            return
        started = time.perf_counter()
        try:
            self._remotes.rotate(state.height)
            write_snapshot(state, self._store, self._snapshots)
            self._remotes.prune(self._snapshots.heights())
        except (OSError, NativeError) as error:
            # The log alone rebuilds everything: a snapshot that fails costs time at the next start, nothing else.
            self._logger.warning("snapshot_failed", reason=str(error))
            return
        seconds = time.perf_counter() - started
        self._metrics.snapshot_written(seconds)
        self._logger.info("snapshot_written", height=state.height, seconds=round(seconds, 3))

    def _take(self, service: SnapshotService) -> None:
        started = time.perf_counter()
        try:
            snapshot = service.take_due()
        except (OSError, NativeError, PlaitError) as error:
            self._logger.warning("network_snapshot_failed", reason=str(error))
            return
        if snapshot is not None:
            self._logger.info(
                "network_snapshot_written",
                height=snapshot.height,
                chunks=snapshot.manifest.chunks,
                seconds=round(time.perf_counter() - started, 3),
            )

    def _prune(self, log: DecidedLog, keep_heights: int) -> None:
        """Removes what neither the bound nor a snapshot needs: a start replays from the oldest of them."""
        needed = [log.height - keep_heights + 1]
        needed += [height + 1 for height in ([] if self._snapshots is None else self._snapshots.heights())]
        oldest = None if self.service is None else self.service.oldest_height()
        if oldest is None or self._snapshots is None:
            return  # without a network snapshot nothing could take the place of the history
        needed.append(oldest + 1)
        before = log.first_height
        try:
            first = log.prune(Height(max(1, min(needed))))
        except (OSError, PlaitError) as error:
            self._logger.warning("log_not_pruned", reason=str(error))
            return
        if first != before:
            self._logger.info("log_pruned", first_height=first)
