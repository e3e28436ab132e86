"""Question: how much memory does an idle node take, and how much does an account with one storage slot add?

Resident memory of a `plait devnet`-like process (two rollups, RPC server, durable log) after it has served for a few
seconds; and the growth of a process that loads a genesis of a million accounts with a token balance each, per pair.
"""

import subprocess
import sys
import time

import psutil

from bench import floor, processes, workload
from bench.report import Result

CHILD = """
import gc, psutil, sys
from bench import floor, workload
from plait.native import Rollup, Store
transfers = workload.make(floor.CHAIN_ID, 10, 1, recipients=10)
small = floor.rollup_with(transfers, accounts=100)
accounts = int(sys.argv[1])
document = open(sys.argv[2], "rb").read()
del small
gc.collect()
before = psutil.Process().memory_info().rss
rollup = Rollup.from_genesis(document, Store.in_memory())
del document
gc.collect()
print(psutil.Process().memory_info().rss - before + len(open(sys.argv[2], "rb").read()))
print(rollup.statistics())
"""


def idle_megabytes(seconds: float) -> float:
    genesis_time_s = int(time.time()) - 2
    genesis = {
        chain_id: workload.genesis_with_token(chain_id, genesis_time_s, [], [])
        for chain_id in (floor.CHAIN_ID, floor.CHAIN_ID + 1)
    }
    with processes.plait(genesis, genesis_time_s) as nodes:
        nodes[floor.CHAIN_ID].call("eth_blockNumber")
        time.sleep(seconds)
        return float(psutil.Process(nodes[0].pid).memory_info().rss) / 1e6


def run(quick: bool = False) -> Result:
    import tempfile

    result = Result("memory")
    idle = idle_megabytes(3 if quick else 20)
    result.figure("idle node, two rollups, resident", idle, "MB")
    result.ratio("idle node / 250 MB", idle / 250, at_most=1.0)
    accounts = 50_000 if quick else 1_000_000
    holders = [workload.recipient_address(index) for index in range(accounts)]
    document = workload.genesis_with_token(floor.CHAIN_ID, floor.GENESIS_TIME_S, holders, holders)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(document)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(accounts), file.name], check=True, capture_output=True, text=True
        )
    grown = int(done.stdout.splitlines()[0])
    result.figure(f"growth per account and slot, {accounts:,} of each", grown / accounts, "bytes")
    result.ratio("growth per pair / 1.2 kB", grown / accounts / 1_200, at_most=1.0)
    return result
