"""One fault of a network: what is measured while it lasts and after it, and the bounds it is held to."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from network_load import Load
from running_network import DOWN_S_MAX, MISSED_HEIGHTS_MAX, NODES, Network

sys.path.append(str(Path(__file__).resolve().parents[2] / "conformance" / "abci"))

LEADER_TIMEOUT_S = 6.0
"""Longest pause of the majority: a leader that is gone costs its proposal's time, two votes and a round."""


def network_seed(file: Path) -> int:
    """Of the load, printed with the command that repeats it."""
    seed = int(os.environ.get("PLAIT_NETWORK_SEED", "") or random.SystemRandom().randrange(2**32))
    print(f"seed {seed}; replay: PLAIT_NETWORK_SEED={seed} .venv/bin/pytest tests/e2e/network/{file.name}")
    return seed


@contextlib.asynccontextmanager
async def fault(network: Network, load: Load, what: str, *, without: tuple[str, ...]) -> AsyncIterator[None]:
    """The block makes a fault and ends it. The majority, all nodes but `without`, goes on meanwhile; all nodes decide
    again within DOWN_S_MAX after it.

    Measured: the longest pause of the majority, heights that needed more than one timeout, seconds until all decide.
    """
    majority = tuple(name for name in NODES if name not in without)
    first = max((await network.heights(majority)).values()) + 1
    began = time.monotonic()
    yield
    ended = time.monotonic()
    last = max((await network.heights(majority)).values())
    pause_s = load.longest_pause_s(began, majority)
    down_s = await network.decide(heights=1, seconds=DOWN_S_MAX)
    rounds = await network.rounds(majority[0], first, last - 1)
    missed = sorted(height for height, round_ in rounds.items() if round_ > 1)
    late = sum(1 for round_ in rounds.values() if round_ == 1)
    print(
        f"{what}: lasted {ended - began:.1f} s, {len(rounds)} heights meanwhile, {late} after one timeout, "
        f"{len(missed)} later, longest pause {pause_s:.1f} s, all decide {down_s:.1f} s after it"
    )
    assert len(missed) <= MISSED_HEIGHTS_MAX, f"{what}: heights {missed} needed more than one timeout: {rounds}"
    assert pause_s <= LEADER_TIMEOUT_S, f"{what}: the majority stood still for {pause_s:.1f} s"


def grammar_holds(data_dir: Path) -> None:
    """Every trace of every node is a sequence of calls that CometBFT's specification allows."""
    from grammar import check_directory  # type: ignore[import-not-found]

    calls, problems = check_directory(data_dir)
    assert not problems, problems
    assert calls > 100, f"the traces hold {calls} calls only"
    print(f"{calls} ABCI calls of all nodes follow the grammar")
