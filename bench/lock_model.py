"""A model of a scheduler that locks whole chains: what a design without shared execution can decide per second.

It stands for coordinators that take one cross-rollup transaction per chain at a time (publicly described ones name
300-500 ms per transaction and a decision timer of 1 s). A discrete simulation of ours, not a measurement of anybody's
program.

Assumptions
    - A bundle has two legs on two different chains, drawn uniformly; with a hot chain, a share of the bundles has it
      as one of its two.
    - It holds both chains exclusively for the whole service time (deterministic: 0.4 s or 1 s); nothing else runs on
      them meanwhile. Execution, signatures, failures and retries cost nothing: every bundle commits at once.
    - Saturated: a backlog of BACKLOG bundles is always waiting, and refilled at once.
    - "best fit": whenever chains become free, the backlog is gone through from the oldest and every bundle whose two
      chains are free starts. "FIFO": the oldest bundle starts when its chains are free, and none overtakes it.
    - Chains lock and unlock at once, all at the same place: no messages, no clock skew.

Every one of these but the service time is in the model's favour.
"""

import heapq
import random
from dataclasses import dataclass, field

BACKLOG = 240
BUNDLES = 10_000
WARM_UP = 1_000
SIMULTANEOUS_S = 1e-9


@dataclass
class _Chains:
    """Which chains are free, and who runs."""

    free: list[bool]
    running: list[tuple[float, int, tuple[int, int]]] = field(default_factory=list)
    started: int = 0

    def start(self, pair: tuple[int, int], until_s: float) -> None:
        self.free[pair[0]] = self.free[pair[1]] = False
        self.started += 1
        heapq.heappush(self.running, (until_s, self.started, pair))

    def can(self, pair: tuple[int, int]) -> bool:
        return self.free[pair[0]] and self.free[pair[1]]

    def finish(self) -> tuple[float, int]:
        """Ends the next bundle and all that end with it; when, and how many."""
        at_s, _, pair = heapq.heappop(self.running)
        count = 1
        self.free[pair[0]] = self.free[pair[1]] = True
        while self.running and self.running[0][0] <= at_s + SIMULTANEOUS_S:
            _, _, pair = heapq.heappop(self.running)
            self.free[pair[0]] = self.free[pair[1]] = True
            count += 1
        return at_s, count


def bundles_per_second(
    chains: int,
    service_s: float,
    *,
    fifo: bool = False,
    hot_percent: int = 0,
    bundles: int = BUNDLES,
    seed: int = 1,
) -> float:
    """Throughput of the model in steady state."""
    generator = random.Random(seed)
    state = _Chains([True] * chains)
    waiting: list[tuple[int, int]] = []
    now_s = began_s = 0.0
    done = before = 0
    while done < bundles + WARM_UP:
        index = 0
        while True:
            while len(waiting) < BACKLOG:
                waiting.append(_pair(generator, chains, hot_percent))
            if index == len(waiting):
                break
            if state.can(waiting[index]):
                state.start(waiting.pop(index), now_s + service_s)
            elif fifo:
                break
            else:
                index += 1
        now_s, ended = state.finish()
        done += ended
        if not before and done >= WARM_UP:
            before, began_s = done, now_s
    return (done - before) / (now_s - began_s)


def _pair(generator: random.Random, chains: int, hot_percent: int) -> tuple[int, int]:
    if hot_percent and generator.randrange(100) < hot_percent:
        return 0, generator.randrange(1, chains)
    first, second = generator.sample(range(1 if hot_percent and chains > 2 else 0, chains), 2)
    return first, second


def main() -> None:
    """Prints the model's table."""
    print(f"{'chains':>6} {'0.4 s':>8} {'FIFO':>8} {'1 s':>8} {'hot 50 %':>9}   bundles/s")
    for chains in (2, 4, 8, 16, 32, 64):
        best, first = bundles_per_second(chains, 0.4), bundles_per_second(chains, 0.4, fifo=True)
        slow = bundles_per_second(chains, 1.0)
        hot = bundles_per_second(chains, 0.4, hot_percent=50, bundles=3_000)
        print(f"{chains:>6} {best:>8.1f} {first:>8.1f} {slow:>8.1f} {hot:>9.1f}")


if __name__ == "__main__":
    main()
