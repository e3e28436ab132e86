"""Question: what share of the native core's speed does a whole solo node keep, in process?

Raw bytes in; admitted by the pool, ordered, proposed, checked, written to the durable log on disk, executed, sealed,
receipts readable. Compared with the floor (the native core alone, same transactions) measured just before and just
after in the same run.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path

from bench import floor, workload
from bench.report import Result, median
from plait.native import Refusal, Transaction, recovery_forget
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.node import Node
from plait.types import RollupId

POOL_AHEAD_MAX = 20_000
"""The feeder waits while so many transactions are undecided; below the pool's own bound."""
BATCH = 1_000


def network(genesis_time_s: int, rollups: int = 1, slot_ms: int = 1_000, sub_blocks: int = 4) -> NetworkConfig:
    return NetworkConfig(
        genesis_time_s=genesis_time_s,
        slot_ms=slot_ms,
        sub_blocks_per_slot=sub_blocks,
        rollups=tuple(
            RollupConfig(chain_id=floor.CHAIN_ID + index, gas_limit=workload.GAS_LIMIT_BLOCK)
            for index in range(rollups)
        ),
    )


async def feed(node: Node, rollup_id: RollupId, raws: list[bytes]) -> None:
    """Hands raw transactions to the pool as several local connections would: the next batch is decoded while one is
    admitted."""

    def decode(start: int) -> asyncio.Task[list[Transaction | Refusal]]:
        return asyncio.create_task(asyncio.to_thread(node.pool.decode, rollup_id, raws[start : start + BATCH]))

    decoding = decode(0)
    for start in range(0, len(raws), BATCH):
        decoded = await decoding
        if start + BATCH < len(raws):
            decoding = decode(start + BATCH)
            await asyncio.sleep(0)
        while node.pool.count > POOL_AHEAD_MAX:
            await asyncio.sleep(0.005)
        admitted = node.pool.admit(rollup_id, decoded, node.clock.now_ms())
        refused = [item for item in admitted if isinstance(item, Exception)]
        if refused:
            raise refused[0]


async def watch_sealed(node: Node, expected: int) -> dict[str, float]:
    """Waits until so many transactions are sealed; seconds spent per phase of the protocol worker are in the
    metrics."""
    subscription = node.bus.subscribe(size=10_000)
    decided = 0
    sealed_at = 0.0
    try:
        async for effect in subscription:
            if decided >= expected and any(rollup.sealed for rollup in effect.rollups):
                sealed_at = time.perf_counter()
                break
            decided += effect.transactions
    finally:
        subscription.close()
    return {"sealed_at": sealed_at}


async def measure(transfers: workload.Workload, accounts: int, folder: Path) -> tuple[float, dict[str, object]]:
    """Transactions per second from the first byte to the seal of the last, and the engine's own statistics."""
    genesis_time_s = int(time.time()) - 2
    known = [*transfers.senders, *transfers.recipients][:accounts]
    genesis = workload.genesis_with_token(transfers.chain_id, genesis_time_s, known, transfers.senders)
    rollup_id = RollupId(transfers.chain_id)
    config = NodeConfig(data_dir=folder, port=0, rollup_port_base=None, log_level="warning")
    async with Node.start(network(genesis_time_s), config, genesis={rollup_id: genesis}) as node:
        await asyncio.sleep(1.5)
        watcher = asyncio.create_task(watch_sealed(node, len(transfers.raws)))
        recovery_forget()
        started = time.perf_counter()
        await feed(node, rollup_id, transfers.raws)
        sealed_at = (await watcher)["sealed_at"]
        native = node.rollups[rollup_id].native
        receipt = native.receipt_json(workload.keccak256(transfers.raws[-1]))
        assert receipt is not None
        assert json.loads(receipt)["status"] == "0x1"
        return len(transfers.raws) / (sealed_at - started), {"phases": node.metrics.render().decode()}


def run(quick: bool = False) -> Result:
    transfers = workload.make(floor.CHAIN_ID, 4_000, 4 if quick else 20)
    before = floor.measure(blocks=4 if quick else 8)
    with tempfile.TemporaryDirectory() as folder:
        rate, _ = asyncio.run(measure(transfers, 100_000, Path(folder) / "data"))
    after = floor.measure(blocks=4 if quick else 8)
    floor_rate = floor.BLOCK_TRANSACTIONS / median([stages.total for stages in before + after])
    result = Result("solo")
    result.figure("floor, stage after stage", floor_rate, "tx/s")
    result.figure("solo node in process, sealed", rate, "tx/s")
    result.ratio("solo node / floor", rate / floor_rate, at_least=0.6)
    result.note(
        f"{len(transfers.raws):,} transfers, 1 s slots of 4 sub-blocks, durable log; the last slot's wait is included"
    )
    return result
