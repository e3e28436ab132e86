"""Fifty random `kill -9` under load, each followed by a restart: nothing that was reported as decided is lost or
changed.

Replay a failure with the seed it prints:
    PLAIT_CRASH_SEED=<seed> .venv/bin/pytest tests/integration/crash/test_random_kills.py
"""

import os
import random
from pathlib import Path

import pytest
from killed_node import CHAINS, KilledNode, Reported, development_wallets

from plait.node.config import NodeConfig
from plait.node.node import open_storage
from plait.node.verify import verify

KILLS = 50


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_nothing_decided_is_lost_or_changed_by_fifty_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get("PLAIT_CRASH_SEED", "") or random.SystemRandom().randrange(2**32))
    print(
        f"seed {seed}; replay: PLAIT_CRASH_SEED={seed} .venv/bin/pytest {Path(__file__).name} (tests/integration/crash)"
    )
    source = random.Random(seed)
    reported = Reported()
    wallets = development_wallets()
    ready_s: list[float] = []
    for _ in range(KILLS):
        node = KilledNode(tmp_path, reported, wallets, source)
        await node.use_and_kill(least_s=0.1, most_s=0.8)
        if node.ready_s:
            ready_s.append(node.ready_s)

    node = KilledNode(tmp_path, reported, wallets, source)
    async with node.serving() as client:
        await node.check(client, everything=True)
    stored = open_storage(None, NodeConfig(data_dir=tmp_path))
    found = verify(stored)
    stored.log.close()
    assert found.difference is None, f"seed {seed}: {found.difference}"
    ready_s.sort()
    print(
        f"{KILLS} kills, {len(reported.sub_blocks)} sub-blocks and {len(reported.places)} transactions reported, "
        f"{found.transactions} decided in {found.heights} heights; "
        f"ready after {ready_s[len(ready_s) // 2]:.2f} s (median), {ready_s[-1]:.2f} s (worst), process start included"
    )
    assert len(reported.sub_blocks) > 5 * KILLS
    assert len(reported.places) > 5 * KILLS
    assert {place[0] for place in reported.places.values()} == set(CHAINS)
