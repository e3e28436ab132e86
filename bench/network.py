"""Question: what does a network of four validators cost over bare CometBFT, and how much does it execute?

All on one machine, in one run, one after the other
    raw          four CometBFT with their built-in key-value store: a transaction sent to any of them until it is
                 decided
    rest         four Plait nodes at the same settings: the same for an ERC-20 transfer over HTTP; interval of heights;
                 CPU at rest
    transfers    ERC-20 transfers on two rollups, sent to two of the nodes as fast as they take them, until all four
                 have the receipt of the last
    bundles      bundles of two legs, one on each rollup, in the same way

CPU per height is what all processes of a node used in the transfers' time, over its heights. Execution is what the node
measures itself (prepare, process, finalize, append, commit: elapsed time, so it grows with whatever else runs);
recovery is the number of senders that were recovered times the cost of one, measured here; serialisation is the cost of
decoding what CometBFT sent for a proposal of the mean size, measured here too.
"""

import asyncio
import random
import threading
import time

from bench import bundle_http, bundle_load, floor, network_homes, processes, workload
from bench.network_homes import Member
from bench.report import Result, percentile
from plait.engines.cometbft.abci_pb2 import Request, RequestFinalizeBlock, RequestProcessProposal
from plait.native import decode_transactions, recovery_statistics

CHAINS = (floor.CHAIN_ID, floor.CHAIN_ID + 1)
POLL_S = 0.004
PHASES = ("prepare", "process", "finalize", "append", "commit")


def probe(member: Member, chain_id: int, raw: bytes) -> float:
    """Seconds from sending a transaction until the same node says that it is decided."""
    name = "0x" + workload.keccak256(raw).hex()
    started = time.perf_counter()
    member.rollups[chain_id].call("eth_sendRawTransaction", "0x" + raw.hex())
    while True:
        status = member.network.call("plait_getTransactionStatus", name)
        if isinstance(status, dict) and status["level"] in {"decided", "sealed"}:
            return time.perf_counter() - started
        time.sleep(POLL_S)


def raw_latencies(count: int, generator: random.Random) -> tuple[list[float], float]:
    """Seconds per transaction of CometBFT alone, and its seconds per height."""
    found = []
    with network_homes.raw_network() as urls:
        before, began = network_homes.comet_height(urls[0]), time.perf_counter()
        for index in range(count):
            time.sleep(generator.uniform(0, 0.25))
            started = time.perf_counter()
            network_homes.commit_one(generator.choice(urls), f"key{index}={index}".encode())
            found.append(time.perf_counter() - started)
        interval_s = (time.perf_counter() - began) / (network_homes.comet_height(urls[0]) - before)
    return found, interval_s


class Window:
    """What all nodes used between two moments."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self._before = self._read()

    def _read(self) -> list[tuple[float, float, float, dict[str, float]]]:
        return [
            (
                time.perf_counter(),
                network_homes.cpu_seconds(member.pid),
                network_homes.cpu_seconds(member.comet_pid),
                member.metrics(),
            )
            for member in self.members
        ]

    def close(self) -> None:
        """Ends the window."""
        after = self._read()
        pairs = list(zip(self._before, after, strict=True))
        self.seconds = max(new[0] - old[0] for old, new in pairs)
        self.node_s = sum(new[1] - old[1] for old, new in pairs)
        self.comet_s = sum(new[2] - old[2] for old, new in pairs)
        self._deltas = [{name: value - old[3].get(name, 0.0) for name, value in new[3].items()} for old, new in pairs]
        self.heights = sum(delta["plait_height"] for delta in self._deltas) / len(self._deltas)

    def total(self, name: str) -> float:
        """Sum over the nodes of how much a number has grown."""
        return sum(delta.get(name, 0.0) for delta in self._deltas)


def transfers_per_second(members: list[Member], raws: dict[int, list[bytes]]) -> tuple[float, Window]:
    """Executed on every node, from the first request to the last receipt on the slowest node."""
    window = Window(members)
    reports: list[dict[str, object]] = []
    senders = [
        threading.Thread(
            target=lambda served, chain_id: reports.append(processes.load(served, raws[chain_id], 100, 4)),
            args=(members[index].rollups[chain_id], chain_id),
        )
        for index, chain_id in enumerate(CHAINS)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    started_at = min(float(str(report["started_at"])) for report in reports)
    last = max(
        processes.wait_for_receipt(member.rollups[chain_id], raw)
        for member in members
        for chain_id in CHAINS
        for raw in raws[chain_id][-2:]
    )
    window.close()
    return sum(map(len, raws.values())) / (last - started_at), window


def bundles_per_second(members: list[Member], load: bundle_load.BundleLoad) -> float:
    """Decided on every node, from the first request to the last receipt on the slowest node."""
    bodies = iter([bundle_http.body_of(index, legs) for index, legs in enumerate(load.bundles)])
    started_at = time.time()
    asyncio.run(bundle_http._send(members[0].network.url, bodies))
    last = max(
        processes.wait_for_receipt(member.rollups[chain_id], raws[-1])
        for member in members
        for legs in load.bundles[-3:]
        for chain_id, raws in legs
    )
    return len(load.bundles) / (last - started_at)


def recovery_s(raws: list[bytes], chain_id: int) -> float:
    """CPU seconds of decoding one transaction with the recovery of its sender, all threads together."""
    before, began = recovery_statistics()["recovered"], time.process_time()
    decode_transactions(raws, chain_id)
    return (time.process_time() - began) / max(recovery_statistics()["recovered"] - before, 1)


def serialisation_s(size: int) -> float:
    """Seconds of decoding the two requests of a height that carry a proposal of this size."""
    data = bytes(size)
    requests = [
        Request(process_proposal=RequestProcessProposal(txs=[data])).SerializeToString(),
        Request(finalize_block=RequestFinalizeBlock(txs=[data])).SerializeToString(),
    ]
    began, turns = time.perf_counter(), 50
    for _ in range(turns):
        for request in requests:
            Request().ParseFromString(request)
    return (time.perf_counter() - began) / turns


def run(quick: bool = False) -> Result:
    generator = random.Random(5)
    count = 12 if quick else 40
    loads = {
        chain_id: workload.make(chain_id, 2_000, 2 if quick else 8, recipients=10_000, seed=7) for chain_id in CHAINS
    }
    probes = workload.make(CHAINS[0], 10, 8, seed=8)
    bundles = bundle_load.make(2, 300 if quick else 2_000)
    genesis_time_s = int(time.time()) - 2
    geneses = {}
    for chain_id, load in loads.items():
        payers = [*load.senders, *bundles.senders[chain_id], *(probes.senders if chain_id == CHAINS[0] else [])]
        known = [*payers, *load.recipients, *bundles.recipients[chain_id], bundle_load.HOT, *probes.recipients]
        geneses[chain_id] = workload.genesis_with_token(
            chain_id, genesis_time_s, list(dict.fromkeys(known)), payers, interop=True
        )
    raw, raw_interval_s = raw_latencies(count, generator)
    with network_homes.plait_network(geneses, genesis_time_s) as members:
        rest = Window(members)
        time.sleep(5 if quick else 15)
        rest.close()
        probing = Window(members)
        plait = []
        for payload in probes.raws[:count]:
            time.sleep(generator.uniform(0, 0.25))
            plait.append(probe(generator.choice(members), CHAINS[0], payload))
        probing.close()
        interval_s = probing.seconds / probing.heights
        rate, loaded = transfers_per_second(members, {chain_id: load.raws for chain_id, load in loads.items()})
        bundle_rate = bundles_per_second(members, bundles)
    transactions = sum(len(load.raws) for load in loads.values())
    return _result(
        raw=(raw, raw_interval_s), plait=(plait, interval_s), rest=rest, loaded=loaded, rates=(rate, bundle_rate),
        unit_s=recovery_s(loads[CHAINS[0]].raws[:4_000], CHAINS[0]), transactions=transactions,
    )  # fmt: skip


def _result(
    *,
    raw: tuple[list[float], float],
    plait: tuple[list[float], float],
    rest: Window,
    loaded: Window,
    rates: tuple[float, float],
    unit_s: float,
    transactions: int,
) -> Result:
    result = Result("network")
    raw_p50, p50 = percentile(raw[0], 0.5), percentile(plait[0], 0.5)
    result.figure("CometBFT with key-value store: interval of heights", raw[1] * 1e3, "ms")
    result.figure("CometBFT with key-value store: sent to decided, p50", raw_p50 * 1e3, "ms")
    result.figure("Plait: interval of heights", plait[1] * 1e3, "ms")
    result.figure("Plait: sent to decided at rest, p50", p50 * 1e3, "ms")
    result.figure("Plait: sent to decided at rest, p95", percentile(plait[0], 0.95) * 1e3, "ms")
    nodes = len(rest.members)
    idle = (rest.node_s + rest.comet_s) / rest.seconds / nodes
    result.figure("CPU of a node at rest", 100 * idle, "% of a core")
    result.figure("of it CometBFT", 100 * rest.comet_s / rest.seconds / nodes, "% of a core")
    result.figure("ERC-20 transfers executed on all four nodes", rates[0], "tx/s")
    result.figure("two-leg bundles decided on all four nodes", rates[1], "bundles/s")
    heights = loaded.heights * nodes
    result.figure("under transfers: transactions of a height, mean", transactions / loaded.heights, "")
    result.figure("under transfers: interval of heights", loaded.seconds / loaded.heights * 1e3, "ms")
    per_height = {
        "CometBFT": loaded.comet_s,
        "Plait, all of it": loaded.node_s,
        "of it execution (elapsed)": sum(
            loaded.total(f'plait_height_phase_seconds_sum{{phase="{phase}"}}') for phase in PHASES
        ),
        "of it recovery of senders": loaded.total("plait_recovery_recovered") * unit_s,
    }
    for name, seconds in per_height.items():
        result.figure(f"CPU per height and node: {name}", seconds / heights * 1e3, "ms")
    size = int(transactions / loaded.heights * 180)
    result.figure("CPU per height and node: of it serialisation", serialisation_s(size) * 1e3, "ms")
    recovered = loaded.total("plait_recovery_recovered") / nodes
    result.ratio("sent to decided / CometBFT with key-value store", p50 / raw_p50, at_most=1.5)
    result.ratio("interval of heights / 300 ms", plait[1] / 0.3, at_most=1.0)
    result.ratio("transfers / 1,500 per second", rates[0] / 1_500, at_least=1.0)
    result.ratio("bundles / 100 per second", rates[1] / 100, at_least=1.0)
    result.ratio("CPU of a node at rest / 5 % of a core", idle / 0.05, at_most=1.0)
    result.ratio("recoveries per node and transaction", recovered / transactions, at_most=1.02)
    result.note("four validators and the load's senders share the machine's cores")
    return result
