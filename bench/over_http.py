"""Question: how many ERC-20 transfers per second does a node take over HTTP, and how does that compare with anvil and
with the floor?

The same raw transactions, the same genesis, batches of 100 `eth_sendRawTransaction` over 8 keep-alive connections
from a process of its own, for Plait and for anvil one after the other. The rate is all transactions over the time
from the first request to the receipt of the last. The load generator runs on the same two cores and takes its share
of them on both sides.
"""

import time

from bench import floor, processes, workload
from bench.report import Result, median


def rate_of(served: processes.Served, raws: list[bytes], batch: int) -> float:
    report = processes.load(served, raws, batch)
    sealed_at = max(processes.wait_for_receipt(served, raw) for raw in raws[-3:])
    started_at = report["started_at"]
    assert isinstance(started_at, float)
    return len(raws) / (sealed_at - started_at)


def run(quick: bool = False) -> Result:
    transfers = workload.make(floor.CHAIN_ID, 4_000, 4 if quick else 20)
    count = len(transfers.raws)
    before = floor.measure(blocks=4 if quick else 8)
    genesis_time_s = int(time.time()) - 2
    known = [*transfers.senders, *transfers.recipients]
    genesis = workload.genesis_with_token(transfers.chain_id, genesis_time_s, known, transfers.senders)
    with processes.plait({transfers.chain_id: genesis}, genesis_time_s) as nodes:
        plait_rate = rate_of(nodes[transfers.chain_id], transfers.raws, 100)
    with processes.anvil(genesis, transfers.chain_id) as node:
        share = transfers.raws[: count if quick else count // 4]
        anvil_rate = rate_of(node, share, 100)
    after = floor.measure(blocks=4 if quick else 8)
    floor_rate = floor.BLOCK_TRANSACTIONS / median([stages.total for stages in before + after])
    result = Result("over_http")
    result.figure("floor, stage after stage", floor_rate, "tx/s")
    result.figure("Plait over HTTP, batches of 100, sealed", plait_rate, "tx/s")
    result.figure("anvil over HTTP, batches of 100, mined", anvil_rate, "tx/s")
    result.ratio("Plait over HTTP / floor", plait_rate / floor_rate, at_least=0.4)
    result.ratio("Plait / anvil", plait_rate / anvil_rate, at_least=5.0)
    result.note(f"{count:,} transfers for Plait, {len(share):,} for anvil (one-second blocks, pool order fifo)")
    return result
