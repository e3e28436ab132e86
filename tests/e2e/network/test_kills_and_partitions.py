"""Four validators under load: each is killed with -9, each is restarted, the network is parted in two ways. Afterwards
all nodes are equal and nothing that was reported as decided is lost.

Replay with the seed it prints:
    PLAIT_NETWORK_SEED=<seed> .venv/bin/pytest tests/e2e/network/test_kills_and_partitions.py
"""

import asyncio
from pathlib import Path

import pytest
from network_faults import fault, grammar_holds, network_seed
from network_load import Load
from running_network import DOWN_S_MAX, NODES, Network, running_network

pytestmark = [pytest.mark.slow, pytest.mark.cometbft]


@pytest.mark.timeout(420)
async def test_nothing_decided_is_lost_by_kills_restarts_and_partitions(tmp_path: Path) -> None:
    seed = network_seed(Path(__file__))
    async with running_network(tmp_path / "net") as network:
        await network.decide(heights=4)
        async with Load(network, seed).running() as load:
            for name in NODES:
                async with fault(network, load, f"kill -9 {name}", without=(name,)):
                    await network.tell("kill", node=name)
                    await network.decide(others(name), heights=4)
                    await network.start(name)
            for name in NODES:
                async with fault(network, load, f"restart {name}", without=(name,)):
                    await network.tell("restart", node=name)
                    await network.look_up()
            async with fault(network, load, "partition 3/1", without=("node2",)):
                await network.tell("partition", groups=[["node2"]])
                await network.decide(others("node2"), heights=8)
                await network.tell("heal")
            await part_in_halves(network, load)
        await network.require_equal()
        await load.require_kept()
        print(f"{len(load.decided)} transactions, {len(load.bundles)} bundles, {load.acknowledged} acknowledged")
        assert load.bundles, "no bundle was decided"
    grammar_holds(tmp_path / "net")


def others(name: str) -> tuple[str, ...]:
    return tuple(one for one in NODES if one != name)


async def part_in_halves(network: Network, load: Load) -> None:
    """Two against two: nobody decides, and nobody decides differently; it goes on when they meet again."""
    await network.tell("partition", groups=[["node1", "node3"]])
    await asyncio.sleep(1.5)  # what was on its way
    before = await network.heights()
    await asyncio.sleep(4)
    assert await network.heights() == before, "half of the stake decided a height"
    await network.tell("heal")
    took = await network.decide(heights=2, seconds=DOWN_S_MAX)
    print(f"partition 2/2: all decide again {took:.1f} s after it ended")
