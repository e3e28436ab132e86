"""Runs a load of bundles, or the same transactions without bundles, through a solo node in process, and times it.

The path is that of a user's request after HTTP: decoding and sender recovery in a thread, admission to the pool,
prepare, process, the durable log on disk, commit. What is counted is decided (in the durable log), not sealed. Besides
seconds the CPU time of the process is taken, because other work on the machine does not count in it.
"""

import asyncio
import gc
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import solo
from bench.bundle_load import BundleLoad
from bench.scaling import cpu_s
from plait.errors import BundleRefused
from plait.execution.bundles import DecodedBundle
from plait.native import recovery_forget
from plait.node.config import NodeConfig
from plait.node.node import Node
from plait.protocol.grid import slot_at
from plait.types import Bundle, Leg, RollupId, Slot

BATCH = 100
"""Bundles that are decoded together, as calls of one JSON-RPC batch."""
AHEAD_MAX = 8_000
"""The feeder waits while so many bundles are undecided."""


@dataclass
class Run:
    """What one run took."""

    seconds: float
    cpu_seconds: float
    failed_trials: int

    def per_second(self, count: int) -> float:
        return count / self.seconds

    def cpu_us(self, count: int) -> float:
        return self.cpu_seconds / count * 1e6


def _bundles(load: BundleLoad, deadline_slot: int) -> list[Bundle]:
    return [
        Bundle(
            legs=tuple(Leg(rollup_id=RollupId(chain_id), transactions=tuple(raws)) for chain_id, raws in legs),
            not_before_slot=Slot(0),
            deadline_slot=Slot(deadline_slot),
        )
        for legs in load.bundles
    ]


async def _feed_bundles(node: Node, bundles: list[Bundle]) -> None:
    pool = node.bundles

    def decode(start: int) -> asyncio.Task[list[DecodedBundle | BundleRefused]]:
        chunk = bundles[start : start + BATCH]
        return asyncio.create_task(asyncio.to_thread(pool.decode_many, chunk))

    decoding = decode(0)
    for start in range(0, len(bundles), BATCH):
        decoded = await decoding
        if start + BATCH < len(bundles):
            decoding = decode(start + BATCH)
            await asyncio.sleep(0)
        while len(pool) > AHEAD_MAX:
            await asyncio.sleep(0.005)
        now_ms = node.clock.now_ms()
        slot = slot_at(node.parameters, now_ms)
        refused = [item for item in pool.admit_many(decoded, now_ms, slot) if isinstance(item, BundleRefused)]
        if refused:
            raise refused[0]


async def _watch(node: Node, transactions: int) -> float:
    subscription = node.bus.subscribe(size=10_000)
    decided = 0
    try:
        async for effect in subscription:
            decided += effect.transactions
            if decided >= transactions:
                return time.perf_counter()
    finally:
        subscription.close()
    raise RuntimeError("the node stopped")


async def _measure(load: BundleLoad, folder: Path, as_bundles: bool) -> Run:
    genesis_time_s = int(time.time()) - 2
    genesis = {RollupId(chain_id): data for chain_id, data in load.geneses(genesis_time_s).items()}
    config = NodeConfig(data_dir=folder, port=0, rollup_port_base=None, log_level="warning", snapshots=False)
    network = solo.network(genesis_time_s, len(load.chain_ids))
    async with Node.start(network, config, genesis=genesis) as node:
        await asyncio.sleep(1.2)
        slot = slot_at(node.parameters, node.clock.now_ms())
        bundles = _bundles(load, slot + 600) if as_bundles else []
        watcher = asyncio.create_task(_watch(node, load.transactions))
        await asyncio.sleep(0)
        before, started = cpu_s(), time.perf_counter()
        if as_bundles:
            await _feed_bundles(node, bundles)
        else:
            plain = load.plain()
            await asyncio.gather(*(solo.feed(node, RollupId(chain_id), plain[chain_id]) for chain_id in load.chain_ids))
        ended = await watcher
        spent = cpu_s() - before
        if node.bundles.dropped:
            raise RuntimeError(f"bundles were dropped: {node.bundles.dropped}")
        return Run(ended - started, spent, node.bundles.trials_failed)


def measure(load: BundleLoad, *, as_bundles: bool = True) -> Run:
    """One run on a fresh node with its log in a temporary folder. What earlier runs left is collected or forgotten."""
    gc.collect()
    recovery_forget()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(load, Path(folder) / "data", as_bundles))
