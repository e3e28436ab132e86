"""Four validators under load: each is paused for ten seconds (both of its processes stop), and each is disconnected
for ten seconds. Afterwards all nodes are equal and nothing that was reported as decided is lost.

Replay with the seed it prints:
    PLAIT_NETWORK_SEED=<seed> .venv/bin/pytest tests/e2e/network/test_pauses_and_disconnections.py
"""

import asyncio
from pathlib import Path

import pytest
from network_faults import fault, grammar_holds, network_seed
from network_load import Load
from running_network import NODES, running_network

pytestmark = [pytest.mark.slow, pytest.mark.cometbft]
FAULT_S = 10.0


@pytest.mark.timeout(420)
async def test_nothing_decided_is_lost_by_pauses_and_disconnections(tmp_path: Path) -> None:
    seed = network_seed(Path(__file__))
    async with running_network(tmp_path / "net") as network:
        await network.decide(heights=4)
        async with Load(network, seed).running() as load:
            for at, name in enumerate(NODES):
                async with fault(network, load, f"pause {name}", without=(name,)):
                    await network.tell("pause", node=name, seconds=FAULT_S)
                    await asyncio.sleep(FAULT_S)
                silent = at % 2 == 1
                what = f"{'silence around' if silent else 'disconnect'} {name}"
                async with fault(network, load, what, without=(name,)):
                    await network.tell("disconnect", node=name, seconds=FAULT_S, silent=silent)
                    await asyncio.sleep(FAULT_S)
        await network.require_equal()
        await load.require_kept()
        print(f"{len(load.decided)} transactions, {len(load.bundles)} bundles, {load.acknowledged} acknowledged")
        assert load.bundles, "no bundle was decided"
    grammar_holds(tmp_path / "net")
