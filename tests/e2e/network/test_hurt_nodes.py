"""A validator that computes wrongly, has a wrong clock or a full disk: the others go on, it halts or is outvoted, and
says why by name. Afterwards, run as it should be, it catches up.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from running_network import DOWN_S_MAX, NODES, Network, require_cometbft, until

from plait.client import Client
from plait.testnet.control import ask
from plait.testnet.founding import Founding, found
from plait.testnet.layout import PortPlan
from plait.testnet.network import commands_of, describe
from plait.testnet.supervisor import Supervisor, node_command

pytestmark = [pytest.mark.slow, pytest.mark.cometbft]
HERE = Path(__file__).resolve().parent
HURT = "node3"
HEALTHY = tuple(name for name in NODES if name != HURT)


class HurtNetwork(Network):
    """A network in this process whose third node is started by `hurt_node.py`."""

    supervisor: Supervisor
    how: list[str]

    async def repair(self) -> None:
        """Starts the hurt node as it should be."""
        member = self.supervisor.members[HURT]
        await member.stop()
        member.command = node_command(member.home, "info")
        await self.start(HURT)

    def said(self) -> str:
        """The log of the hurt node."""
        return (self.supervisor.members[HURT].home / "node.log").read_text()


@asynccontextmanager
async def hurt_network(
    data_dir: Path, *how: str, environment: dict[str, str] | None = None
) -> AsyncIterator[HurtNetwork]:
    require_cometbft()

    def command(home: Path) -> Sequence[str]:
        usual = node_command(home, "info")
        return (sys.executable, str(HERE / "hurt_node.py"), *how, *usual[3:]) if home.name == HURT else usual

    layout = await asyncio.to_thread(found, data_dir, Founding(ports=PortPlan(rpc=0, rollups=0, comet=0)))
    running = Supervisor.running(data_dir, layout, command=command, trace=True, environment={HURT: environment or {}})
    async with running as supervisor, commands_of(supervisor, asyncio.Event()):
        network = HurtNetwork(data_dir, describe(supervisor))
        network.supervisor = supervisor
        yield network


async def halted(network: HurtNetwork) -> dict[str, Any]:
    """The last line of the hurt node's description of its own end."""

    async def died() -> bool:
        found = await ask(network.data_dir, "status")
        return any(node["name"] == HURT and node["state"] == "died" for node in found["nodes"])

    await until(died, seconds=30, what="the hurt node halts", state=network.heights)
    member = network.supervisor.members[HURT]
    return {"exitCode": member.exit_code, "why": member.last_words()}


@pytest.mark.timeout(420)
async def test_a_validator_with_a_flipped_bit_is_outvoted_halts_by_name_and_catches_up_once_repaired(
    tmp_path: Path,
) -> None:
    async with hurt_network(tmp_path / "net", "flipped-bit", "12") as network:
        end = await halted(network)
        assert end["exitCode"] == 5, end  # a broken invariant
        assert "decided_proposal_invalid" in end["why"], end
        assert "sealed_hash_wrong" in network.said(), "it did not refuse the others' proposal before it halted"
        await network.decide(HEALTHY, heights=4)
        await network.repair()
        await network.decide(NODES)
        await network.require_equal()


@pytest.mark.timeout(420)
@pytest.mark.parametrize("offset_ms", [5_000, -5_000])
async def test_a_validator_with_a_wrong_clock_moves_neither_the_time_nor_the_pace_of_the_network(
    tmp_path: Path, offset_ms: int
) -> None:
    from shifted_comet import shifted_cometbft

    require_cometbft()
    program = await asyncio.to_thread(shifted_cometbft)
    environment = {"PLAIT_COMETBFT": str(program)}
    async with hurt_network(tmp_path / "net", "wrong-clock", str(offset_ms), environment=environment) as network:
        await network.decide(NODES, heights=8)
        async with Client(network.urls["node1"]) as client:
            newest = await client.call("plait_getSubBlock", "latest")
        late_ms = time.time() * 1_000 - newest["timeMs"]
        assert -500 < late_ms < 2_500, f"the network's time is {late_ms:.0f} ms behind the clock of the others"
        height = newest["height"] - 2
        votes = sorted((await vote_times_ms(network, height)).values())
        async with Client(network.urls["node1"]) as client:
            at_ms = (await client.call("plait_getSubBlock", height))["timeMs"]
        # A fast clock shows in the votes; a slow one votes as early as CometBFT allows, 1 ms after the block.
        wrong = [vote for vote in votes if (vote > at_ms + 3_000 if offset_ms > 0 else vote <= at_ms + 1)]
        assert len(wrong) == 1, f"the clock of {HURT} does not show in its votes: {votes} for a block of {at_ms}"
        async with Client(network.urls[HURT]) as client:
            health = await client.call("plait_health")
        if offset_ms > 0:
            assert not health["ready"], health
            assert health["reasons"], "a node whose clock is off says so"
        await network.require_equal()


async def vote_times_ms(network: HurtNetwork, height: int) -> dict[str, float]:
    """When the validators say that they voted for a height, Unix milliseconds."""
    from datetime import datetime

    async with Client(network.comet_urls["node1"]) as comet:
        _, data = await comet.get(f"commit?height={height}")
    signatures = msgspec.json.decode(data)["result"]["signed_header"]["commit"]["signatures"]
    return {
        one["validator_address"]: datetime.fromisoformat(one["timestamp"][:23] + "+00:00").timestamp() * 1_000
        for one in signatures
        if one["signature"]
    }


@pytest.mark.timeout(420)
async def test_a_validator_with_a_full_disk_halts_by_name_and_catches_up_once_there_is_room(tmp_path: Path) -> None:
    async with hurt_network(tmp_path / "net", "full-disk", "10000") as network:
        end = await halted(network)
        assert end["exitCode"] == 5, end
        assert "log_write_failed" in end["why"], end
        assert "No space left on device" in end["why"], end
        await network.decide(HEALTHY, heights=4)
        await network.repair()
        await network.decide(NODES)
        await network.require_equal()


@pytest.mark.timeout(420)
async def test_a_validator_whose_cometbft_cannot_write_ends_as_a_whole_and_says_so(tmp_path: Path) -> None:
    async with hurt_network(tmp_path / "net", "comet-full", "262144") as network:
        end = await halted(network)
        assert end["exitCode"] == 4, end
        assert "cometbft_failed" in end["why"], end
        await network.decide(HEALTHY, heights=4, seconds=DOWN_S_MAX)
        await network.repair()
        await network.decide(NODES)
        await network.require_equal()
