"""Question: how long does a node take to be ready again when it must replay its whole decided log?

A node in process takes ERC-20 transfers, stops, and is started again without a snapshot: every decided sub-block is
executed again, senders from the log. Seconds per 100,000 transactions, with the floor (execution and roots with senders
known) of the same run as the peer.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from bench import floor, solo, workload
from bench.report import Result, median
from plait.node.config import NodeConfig
from plait.node.node import Node
from plait.types import RollupId


async def replay_seconds(transfers: workload.Workload, folder: Path) -> float:
    """Seconds that the restored node spent replaying all transfers."""
    genesis_time_s = int(time.time()) - 2
    known = [*transfers.senders, *transfers.recipients]
    genesis = workload.genesis_with_token(transfers.chain_id, genesis_time_s, known, transfers.senders)
    rollup_id = RollupId(transfers.chain_id)
    config = NodeConfig(data_dir=folder, port=0, rollup_port_base=None, log_level="warning", snapshots=False)
    async with Node.start(solo.network(genesis_time_s), config, genesis={rollup_id: genesis}) as node:
        await asyncio.sleep(1.5)
        watcher = asyncio.create_task(solo.watch_sealed(node, len(transfers.raws)))
        await solo.feed(node, rollup_id, transfers.raws)
        await watcher
    async with Node.start(None, config) as node:
        assert node.restored.replayed_transactions == len(transfers.raws)
        return node.restored.seconds


def run(quick: bool = False) -> Result:
    transfers = workload.make(floor.CHAIN_ID, 4_000, 4 if quick else 20)
    stages = floor.measure(blocks=4 if quick else 8)
    with tempfile.TemporaryDirectory() as folder:
        seconds = asyncio.run(replay_seconds(transfers, Path(folder) / "data"))
    count = len(transfers.raws)
    known = median([block.execute + block.seal for block in stages]) / floor.BLOCK_TRANSACTIONS
    result = Result("restart")
    result.figure("replay from genesis", seconds * 100_000 / count, "s per 100,000 transactions")
    result.ratio("replay / 5 s per 100,000 transactions", seconds * 100_000 / count / 5, at_most=1.0)
    result.ratio("replay / native core with senders known", seconds / count / known)
    return result
