"""An engine that answers INVALID stops its own rollup's engine, with evidence, and nothing else."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest
from engine_face import LyingEngine
from running_opstack import blocks, call, require_programs, until

from plait.testnet.member import Member
from plait.testnet.opstack.founding import Founding
from plait.testnet.opstack.heads import heads_of
from plait.testnet.opstack.layout import PortPlan
from plait.testnet.opstack.supervisor import HOST, OpStack

pytestmark = [pytest.mark.slow, pytest.mark.opgeth, pytest.mark.node_js]


async def test_an_engine_that_answers_invalid_stops_its_rollups_engine_alone(tmp_path: Path) -> None:
    """The other engine follows, both rollups go on and become safe; told the truth again, the engine catches up."""
    founding = Founding(l1_block_time_s=1, ports=PortPlan(rpc=0))
    async with (
        OpStack.running(tmp_path / "net", require_programs(), founding, sequencer=False) as network,
        LyingEngine(f"http://{HOST}:{network.ports.programs[1].engine_auth}") as lying,
    ):
        behind = msgspec.structs.replace(network.ports.programs[1], engine_auth=lying.port)
        ports = msgspec.structs.replace(network.ports, programs=(network.ports.programs[0], behind))
        node = Member(
            "plait", network.directory / "node",
            (*(sys.executable, "-m", "plait.cli.main", "opstack", "node", "--data-dir", str(network.directory)),
             *("--ports", msgspec.json.encode(ports).decode())),
        )  # fmt: skip
        await node.start()
        try:
            await _follows(network, 1, 3)
            lying.lies_from = await _engine_head(network, 1) + 3
            await _follows(network, 0, lying.lies_from + 4)
            assert lying.lies > 0
            assert await _engine_head(network, 1) < lying.lies_from, "the engine has a block that it called invalid"
            evidence = list((network.directory / "node" / "evidence").iterdir())
            assert evidence, "nothing says what differed"
            for at in range(2):
                await _safe_and_equal(network, at, lying.lies_from + 2)

            lying.lies_from = None
            await node.stop()
            await node.start()
            await _follows(network, 1, await _engine_head(network, 0))
        finally:
            await node.stop()


async def _engine_head(network: OpStack, at: int) -> int:
    return int(await call(network.endpoints(at).engine, "eth_blockNumber"), 16)


async def _follows(network: OpStack, at: int, number: int) -> None:
    async def reached() -> bool:
        return await _engine_head(network, at) >= number

    await until(reached, seconds=40, what=f"engine {at} has block {number}", state=network.status)


async def _safe_and_equal(network: OpStack, at: int, number: int) -> None:
    """op-node derives our blocks whatever our own engine says."""
    endpoints = network.endpoints(at)
    async with asyncio.timeout(40):
        while True:
            safe = (await heads_of(endpoints)).levels["safe"].verifier
            if safe is not None and safe.number >= number:
                break
            await asyncio.sleep(0.2)
    assert await blocks(endpoints.plait, 0, number) == await blocks(endpoints.verifier, 0, number)
