"""Random `kill -9` while bundles and messages are decided: after every restart each bundle is whole or absent on both
rollups, what was reported is there, and ether and tokens that cross rollups are conserved.

Replay a failure with the seed it prints, and kill more often with PLAIT_CRASH_KILLS:
    PLAIT_CRASH_SEED=<seed> PLAIT_CRASH_KILLS=50 .venv/bin/pytest tests/integration/crash/test_kills_with_bundles.py
"""

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from bundled_traffic import BundledNode, Offers
from killed_node import Reported, block_sealed, development_wallets
from message_logs import check_delivered, read

from plait.node.config import NodeConfig
from plait.node.node import open_storage
from plait.node.verify import verify

KILLS = 5


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_no_kill_leaves_half_a_bundle_or_takes_a_decided_one_back(tmp_path: Path) -> None:
    seed = int(os.environ.get("PLAIT_CRASH_SEED", "") or random.SystemRandom().randrange(2**32))
    kills = int(os.environ.get("PLAIT_CRASH_KILLS", "") or KILLS)
    replay = f"PLAIT_CRASH_SEED={seed} PLAIT_CRASH_KILLS={kills} .venv/bin/pytest tests/integration/crash"
    print(f"seed {seed}; replay: {replay}/{Path(__file__).name}")
    source = random.Random(seed)
    reported, offers, wallets = Reported(), Offers(), development_wallets()

    def new() -> BundledNode:
        node = BundledNode(tmp_path, reported, wallets, source)
        node.offers = offers
        return node

    node = new()
    async with node.serving() as client:
        await node.prepare(client)
    for _ in range(kills):
        await new().use_and_kill(least_s=0.3, most_s=1.5)

    node = new()
    async with node.serving() as client:
        await node.check(client, everything=True)
        for rollup in await client.call("plait_rollups"):
            await block_sealed(client.at(rollup["path"]), rollup["openBlock"]["number"])
        seen = await read(client)
        deliveries = check_delivered(seen, offers.bundles)
    stored = open_storage(None, NodeConfig(data_dir=tmp_path))
    found = verify(stored)
    stored.log.close()
    assert found.difference is None, found.difference
    decided = Counter(one.kind for one in offers.bundles if one.hashes()[0] in seen.heights)
    unknown = [one for one in offers.bundles if one.height is None and not one.dropped and one.can_take_place]
    print(
        f"{kills} kills; of {len(offers.bundles)} bundles {decided.total()} took place ({dict(decided)}) with "
        f"{deliveries} deliveries; {len(unknown)} without an outcome before a kill, "
        f"{sum(one.hashes()[0] in seen.heights for one in unknown)} of them whole, the others absent; "
        f"{len(offers.crossings)} plain messages offered, {offers.in_flight_wei} wei on their way; "
        f"{len(reported.sub_blocks)} sub-blocks reported, {found.transactions} transactions verified"
    )
    assert all(decided[kind] >= kills for kind in ("pair", "ether", "token")), decided
    assert deliveries >= 2 * kills
    assert len(reported.sub_blocks) > 5 * kills
