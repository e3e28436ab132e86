"""Prometheus metrics of one node, in a registry of its own. `docs/guides/operations.md` explains each.

Counted from effects and statistics that the parts keep anyway; nothing on the path of a transaction waits for a metric.
"""

import gc
import resource
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from plait.engines.decision import Decision

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
Read = Callable[[], Mapping[str, int | float]]


class Statistics(Collector):
    """Gauges read from a part's `statistics()` when Prometheus asks."""

    def __init__(self) -> None:
        self._reads: dict[str, Read] = {}

    def add(self, prefix: str, read: Read) -> None:
        """Exposes every number of `read()` as `plait_<prefix>_<name>`."""
        self._reads[prefix] = read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """All gauges, now."""
        for prefix, read in self._reads.items():
            for name, value in read().items():
                metric = f"plait_{prefix}_{name}"
                yield GaugeMetricFamily(metric, f"{name.replace('_', ' ')} of the {prefix}", value=value)


class Metrics:
    """What a node tells Prometheus."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=False)
        self.statistics = Statistics()
        self.registry.register(self.statistics)
        registry = self.registry
        self._height = Gauge("plait_height", "height of the newest decided sub-block", registry=registry)
        self._slot = Gauge("plait_slot", "slot of the newest decided sub-block", registry=registry)
        self._sub_blocks = Counter("plait_sub_blocks", "decided sub-blocks since the start", registry=registry)
        self._transactions = Counter(
            "plait_transactions_decided", "decided transactions since the start", ["rollup"], registry=registry
        )
        self._sealed = Counter("plait_blocks_sealed", "sealed blocks since the start", ["rollup"], registry=registry)
        self._head = Gauge("plait_block_number", "number of the newest sealed block", ["rollup"], registry=registry)
        self._gas = Counter("plait_gas_used", "gas of sealed blocks since the start", ["rollup"], registry=registry)
        self._dropped = Counter(
            "plait_transactions_dropped", "candidates that could never apply", ["code"], registry=registry
        )
        self._deferred = Gauge(
            "plait_transactions_deferred", "candidates that did not fit last time", registry=registry
        )
        self._phase = Histogram(
            "plait_height_phase_seconds", "time of a height's phases", ["phase"], buckets=_SECONDS, registry=registry
        )
        self._snapshot = Histogram("plait_snapshot_seconds", "time to write a snapshot", registry=registry)
        self._start = Gauge("plait_start_seconds", "time from start to ready", registry=registry)
        self.statistics.add("process", _process)

    def decided(self, decision: Decision) -> None:
        """Counts one height."""
        effect = decision.effect
        self._height.set(effect.height)
        self._slot.set(effect.slot)
        self._sub_blocks.inc()
        self._deferred.set(decision.deferred)
        for phase, seconds in decision.phases_s.items():
            self._phase.labels(phase).observe(seconds)
        for dropped in decision.dropped:
            self._dropped.labels(dropped.code).inc()
        for rollup in effect.rollups:
            label = str(rollup.rollup_id)
            self._transactions.labels(label).inc(len(rollup.transactions))
            if rollup.sealed:
                self._sealed.labels(label).inc(len(rollup.sealed))
                self._head.labels(label).set(rollup.sealed[-1].number)
                self._gas.labels(label).inc(sum(block.gas_used for block in rollup.sealed))

    def snapshot_written(self, seconds: float) -> None:
        """Counts one snapshot."""
        self._snapshot.observe(seconds)

    def ready(self, seconds: float) -> None:
        """Notes how long the start took."""
        self._start.set(seconds)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)


def _process() -> Mapping[str, int | float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "resident_bytes_max": usage.ru_maxrss * 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "gc_collections": sum(generation["collections"] for generation in gc.get_stats()),
    }
