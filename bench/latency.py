"""Question: how long from sending a transaction to its being decided, at half of the node's load?

The background is a steady stream at half the rate that the node reached over HTTP in this run, from a process of its
own. The probes are single transactions of other senders, sent one after the other at times that do not follow the
sub-block grid; a probe is decided when `plait_getTransactionStatus` says so (asked every 4 ms, which the figures
include). In units of the sub-block interval.
"""

import random
import threading
import time

from bench import floor, over_http, processes, workload
from bench.report import Result, percentile

SUB_BLOCKS = 4
SUB_BLOCK_S = 1.0 / SUB_BLOCKS


def probe(served: processes.Served, network: processes.Served, raw: bytes) -> float:
    name = "0x" + workload.keccak256(raw).hex()
    started = time.perf_counter()
    served.call("eth_sendRawTransaction", "0x" + raw.hex())
    while True:
        status = network.call("plait_getTransactionStatus", name)
        if isinstance(status, dict) and status["level"] in {"decided", "sealed"}:
            return time.perf_counter() - started
        time.sleep(0.004)


def run(quick: bool = False) -> Result:
    probes = workload.make(floor.CHAIN_ID, 10, 4 if quick else 20, seed=2)
    background = workload.make(floor.CHAIN_ID, 4_000, 4 if quick else 20)
    genesis_time_s = int(time.time()) - 2
    known = [*background.senders, *probes.senders, *background.recipients]
    genesis = workload.genesis_with_token(floor.CHAIN_ID, genesis_time_s, known, [*background.senders, *probes.senders])
    generator = random.Random(3)
    idle: list[float] = []
    loaded: list[float] = []
    with processes.plait({floor.CHAIN_ID: genesis}, genesis_time_s, SUB_BLOCKS) as nodes:
        served, network = nodes[floor.CHAIN_ID], nodes[0]
        half = len(background.raws) // 2
        full_rate = over_http.rate_of(served, background.raws[:half], 100)
        waiting = list(probes.raws)
        for _ in range(len(waiting) // 4):
            time.sleep(generator.uniform(0, SUB_BLOCK_S))
            idle.append(probe(served, network, waiting.pop(0)))
        stream = threading.Thread(
            target=processes.load, args=(served, background.raws[half:], 100, 8, full_rate / 2), daemon=True
        )
        stream.start()
        time.sleep(1.5)
        while waiting and stream.is_alive():
            time.sleep(generator.uniform(0, SUB_BLOCK_S / 4))
            loaded.append(probe(served, network, waiting.pop(0)))
        stream.join()
    result = Result("latency")
    result.figure("full rate over HTTP in this run", full_rate, "tx/s")
    result.figure("send to decided at rest, p50", percentile(idle, 0.5) * 1e3, "ms")
    result.figure("send to decided at half load, p50", percentile(loaded, 0.5) * 1e3, "ms")
    result.figure("send to decided at half load, p95", percentile(loaded, 0.95) * 1e3, "ms")
    result.figure("probes at half load", len(loaded), "")
    result.ratio("p50 at half load / sub-block interval", percentile(loaded, 0.5) / SUB_BLOCK_S, at_most=1.2)
    return result
