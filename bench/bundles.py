"""Question: how many bundles does a solo node decide, under which conflicts, and what does a bundle cost beside the
same transactions sent alone?

Bundles have two legs on two rollups, each of one ERC-20 transfer unless said otherwise (`bench.bundle_load`), and take
the path of `bench.bundle_run`: pool admission, prepare, process, durable log, commit. Rates are wall time; what is
compared across runs is CPU time of the process (a rate per core is bundles per CPU second), because the machine is
shared. Peers: the same transactions without bundles through the same path in the same run, and a model of a scheduler
that locks whole chains (`bench.lock_model`). `python -m bench.chart` draws both.
"""

from collections.abc import Sequence

from bench import bundle_http, bundle_load, bundle_run, lock_model
from bench.bundle_run import Run
from bench.report import Result

BUNDLES = 8_000
CONFLICTS_PERCENT = (0, 25, 50, 90, 100)
ROLLUPS = (2, 8, 64)
TRANSACTIONS_PER_BUNDLE = (2, 4, 8)


def rate_name(rollups: int) -> str:
    """Name of the figure; the chart looks for it."""
    return f"{rollups} rollups, random pairs" if rollups > 2 else "two rollups, no conflict"


def conflicts(result: Result, count: int) -> Run:
    """Two rollups; a share of the bundles meets on one storage slot of each. Returns the run without conflicts."""
    runs = {}
    for percent in CONFLICTS_PERCENT:
        runs[percent] = run = bundle_run.measure(bundle_load.make(2, count, hot_percent=percent))
        name = {0: rate_name(2), 100: "all on one storage slot"}.get(percent, f"{percent} % on one storage slot")
        result.figure(name, run.per_second(count), "bundles/s")
    result.figure("failed trials of all these", sum(run.failed_trials for run in runs.values()), "")
    result.ratio("two rollups / 1,000 bundles/s", runs[0].per_second(count) / 1_000, at_least=1.0)
    result.ratio("all on one slot / 500 bundles/s", runs[100].per_second(count) / 500, at_least=1.0)
    result.ratio("all on one slot / no conflict, per core", runs[0].cpu_seconds / runs[100].cpu_seconds)
    return runs[0]


def spread(result: Result, count: int, two: Run) -> None:
    """Random pairs of more and more rollups."""
    for rollups in ROLLUPS[1:]:
        run = bundle_run.measure(bundle_load.make(rollups, count))
        result.figure(rate_name(rollups), run.per_second(count), "bundles/s")
        target = 0.7 if rollups == ROLLUPS[-1] else None
        result.ratio(f"{rollups} rollups / two rollups, per core", two.cpu_seconds / run.cpu_seconds, at_least=target)


def overhead(result: Result, count: int, repetitions: int) -> None:
    """Bundles of k transactions beside the same transactions sent alone; the best of several turns of each."""
    for size in TRANSACTIONS_PER_BUNDLE:
        load = bundle_load.make(2, 2 * count // size, per_leg=size // 2)
        bundled, plain = [], []
        for _ in range(repetitions):
            plain.append(bundle_run.measure(load, as_bundles=False))
            bundled.append(bundle_run.measure(load))
        transactions = load.transactions
        result.figure(f"alone, as {size} transactions", _best(plain, transactions), "CPU us/tx")
        result.figure(f"bundle of {size} transactions", _best(bundled, transactions), "CPU us/tx")
        result.ratio(
            f"bundle of {size} / {size} transactions alone",
            _best(bundled, transactions) / _best(plain, transactions),
            at_most=1.3,
        )


def _best(runs: Sequence[Run], transactions: int) -> float:
    return min(run.cpu_us(transactions) for run in runs)


def model(result: Result) -> None:
    """The whole-chain-lock model at the sizes that are measured here."""
    for rollups in ROLLUPS:
        best = lock_model.bundles_per_second(rollups, 0.4, bundles=4_000)
        fifo = lock_model.bundles_per_second(rollups, 0.4, fifo=True, bundles=4_000)
        result.figure(f"model: whole-chain locks, 0.4 s, {rollups} rollups", best, "bundles/s")
        result.figure(f"model: the same, FIFO, {rollups} rollups", fifo, "bundles/s")


def run(quick: bool = False) -> Result:
    count = BUNDLES // 4 if quick else BUNDLES
    result = Result("bundles")
    two = conflicts(result, count)
    spread(result, count, two)
    overhead(result, count, 1 if quick else 3)
    rate = bundle_http.bundles_per_second(bundle_load.make(2, count // 2))
    result.figure("over HTTP, one per request, accepted", rate, "bundles/s")
    model(result)
    result.note(f"{count:,} bundles per run, two legs each, 1 s slots of 4 sub-blocks, durable log on disk")
    result.note("assumptions of the model: bench/lock_model.py; it counts neither execution nor failures")
    return result
