"""Question: does a transaction cost the same on 2 and on 16 rollups, and over 10 thousand and a million accounts?

CPU time of the node's process per transaction, in process, so that other work on the machine does not count. The same
number of transfers is spread evenly over the rollups; the account population is in the genesis. The peer is the
smallest case of the same run.
"""

import asyncio
import resource
import tempfile
import time
from pathlib import Path

from bench import floor, solo, workload
from bench.report import Result
from plait.native import recovery_forget
from plait.node.config import NodeConfig
from plait.node.node import Node
from plait.types import RollupId

TRANSACTIONS = 32_000


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def node_cpu_us(rollups: int, folder: Path, count: int) -> float:
    """CPU microseconds per transaction of a node with so many rollups."""
    genesis_time_s = int(time.time()) - 2
    per_rollup = count // rollups
    loads = [
        workload.make(floor.CHAIN_ID + index, min(1_000, per_rollup), max(1, per_rollup // 1_000))
        for index in range(rollups)
    ]
    genesis = {
        RollupId(load.chain_id): workload.genesis_with_token(
            load.chain_id, genesis_time_s, [*load.senders, *load.recipients][:10_000], load.senders
        )
        for load in loads
    }
    config = NodeConfig(data_dir=folder, port=0, rollup_port_base=None, log_level="warning")
    async with Node.start(solo.network(genesis_time_s, rollups), config, genesis=genesis) as node:
        await asyncio.sleep(1.5)
        total = sum(len(load.raws) for load in loads)
        watcher = asyncio.create_task(solo.watch_sealed(node, total))
        recovery_forget()
        before = cpu_s()
        await asyncio.gather(*(solo.feed(node, RollupId(load.chain_id), load.raws) for load in loads))
        await watcher
        return (cpu_s() - before) / total * 1e6


def core_cpu_us(accounts: int, blocks: int) -> float:
    """CPU microseconds per transaction of the native core over so many accounts: decode, recovery, execution, roots."""
    transfers = workload.make(floor.CHAIN_ID, floor.BLOCK_TRANSACTIONS * 2, blocks // 2 + 1, recipients=accounts)
    rollup = floor.rollup_with(transfers, accounts=accounts)
    rules = floor.parameters()
    spent = 0.0
    recovery_forget()
    for number, raws in enumerate(transfers.rounds(floor.BLOCK_TRANSACTIONS)[: blocks + 1], 1):
        before = cpu_s()
        floor.one_block(rollup, rules, number, raws)
        spent += (cpu_s() - before) if number > 1 else 0.0
    return spent / (blocks * floor.BLOCK_TRANSACTIONS) * 1e6


def run(quick: bool = False) -> Result:
    result = Result("scaling")
    count = TRANSACTIONS // 4 if quick else TRANSACTIONS
    by_rollups = {}
    for rollups in (2, 4, 16):
        with tempfile.TemporaryDirectory() as folder:
            by_rollups[rollups] = asyncio.run(node_cpu_us(rollups, Path(folder) / "data", count))
        result.figure(f"node, {rollups} rollups", by_rollups[rollups], "CPU us/tx")
    result.ratio("16 rollups / 2 rollups", by_rollups[16] / by_rollups[2], at_most=1.15)
    sizes = (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000)
    by_accounts = {}
    for accounts in sizes:
        by_accounts[accounts] = core_cpu_us(accounts, 4 if quick else 10)
        result.figure(f"native core, {accounts:,} accounts", by_accounts[accounts], "CPU us/tx")
    result.ratio(
        f"{sizes[-1]:,} accounts / 10,000 accounts", by_accounts[sizes[-1]] / by_accounts[10_000], at_most=1.15
    )
    return result
