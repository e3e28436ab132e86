"""How often each method was called, how often it failed, and how long it took, for Prometheus.

    plait_rpc_method_calls_total{method}     answered calls
    plait_rpc_method_errors_total{method}    of them, those answered with an error
    plait_rpc_method_seconds_total{method}   time until the answers

The labels are the names in the method table and `unknown`, so no client can add any; a method that nobody called is
not shown.

Level 7. Lives on the event loop.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from plait.rpc.table import METHODS

UNKNOWN: Final = "unknown"
"""Label of calls of methods that are not in the table."""


@dataclass(slots=True)
class Total:
    """Sums over calls."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0


class Counters(Collector):
    """Counts calls by method; a collector of Prometheus' registry."""

    def __init__(self) -> None:
        self._totals: dict[str, Total] = {}

    def observe(self, method: str, seconds: float, error: int | None) -> None:
        """One answered call."""
        self.observe_batch(method, 1, seconds, int(error is not None))

    def observe_batch(self, method: str, calls: int, seconds: float, errors: int) -> None:
        """Calls that were answered together: how many, in how much time, and how many of them with an error."""
        total = self._totals.get(method)
        if total is None:
            total = self._totals.setdefault(method if method in METHODS else UNKNOWN, Total())
        total.calls += calls
        total.seconds += seconds
        total.errors += errors

    def all(self) -> Total:
        """Over all methods."""
        totals = self._totals.values()
        return Total(sum(t.calls for t in totals), sum(t.errors for t in totals), sum(t.seconds for t in totals))

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The three families, now."""
        calls = CounterMetricFamily("plait_rpc_method_calls", "answered calls", labels=["method"])
        errors = CounterMetricFamily("plait_rpc_method_errors", "calls answered with an error", labels=["method"])
        seconds = CounterMetricFamily("plait_rpc_method_seconds", "time until the answers", labels=["method"])
        for method, total in sorted(self._totals.items()):
            calls.add_metric([method], total.calls)
            errors.add_metric([method], total.errors)
            seconds.add_metric([method], total.seconds)
        return [calls, errors, seconds]
