"""`plait opstack` as a person uses it: up, status, a deposit with the printed command, stop, up again, down."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from running_opstack import ROOT, cast_path, running_opstack, until

pytestmark = [pytest.mark.slow, pytest.mark.opgeth, pytest.mark.node_js]
_WORDS_OF_A_DEPOSIT = 8


async def test_it_starts_takes_a_deposit_stops_and_goes_on(tmp_path: Path) -> None:
    """The second start continues L1, rollups and verifiers; blocks that were safe have the same hashes."""
    directory = tmp_path / "net"
    async with running_opstack(directory, "--rollups", "1") as network:
        await _deposit_as_printed(network.description["cast"], network.l1_url, network.rollups[0])
        code, found = await _plait("status", "--data-dir", str(directory), "--json")
        assert code == 0, found
        status = json.loads(found)
        assert [rollup["chain_id"] for rollup in status["rollups"]] == [901]
        assert all(program["state"] == "running" for program in status["programs"].values()), status
        code, text = await _plait("status", "--data-dir", str(directory))
        assert code == 0
        assert "equal" in text
        assert "DIFFER" not in text
        heads = await network.require_derived()
        hashes = [rollup["hash"] for rollup in await _blocks(network.rollups[0]["verifierUrl"], heads[0])]
        code, _ = await _plait("stop", "--data-dir", str(directory))
        assert code == 0
        assert await asyncio.wait_for(network.process.wait(), 40) == 0

    async with running_opstack(directory) as network:
        assert network.description["isNew"] is False
        await network.heads_reach(heads[0] + 4, 40)
        await network.require_derived()
        now = [rollup["hash"] for rollup in await _blocks(network.rollups[0]["verifierUrl"], heads[0])]
        assert now == hashes
        code, _ = await _plait("down", "--data-dir", str(directory), "--json")
        assert code == 0
    assert not (directory / "opstack.json").exists()
    assert not list(directory.glob("9*"))
    code, found = await _plait("status", "--data-dir", str(directory), "--json")
    assert code == 4
    assert json.loads(found)["error"]["code"] == "testnet_not_running"


async def _deposit_as_printed(wallet: str, l1_url: str, rollup: dict[str, str]) -> None:
    """Runs the command that `up` prints, and sees the ether on the rollup with the other one."""
    from plait.cli.opstack import DEPOSITOR, deposit_command

    words = deposit_command(rollup["portal"], l1_url, wallet).split()
    assert len(words) == _WORDS_OF_A_DEPOSIT + 1, words
    before = await _balance(DEPOSITOR, rollup["plaitUrl"])
    code, said = await _run(*words)
    assert code == 0, said

    async def arrived() -> bool:
        return await _balance(DEPOSITOR, rollup["plaitUrl"]) == before + 10**18

    await until(arrived, seconds=30, what="the deposit is on the rollup")


async def _balance(address: str, url: str) -> int:
    _, text = await _run(str(cast_path()), "balance", address, "--rpc-url", url)
    return int(text)


async def _blocks(url: str, last: int) -> list[dict[str, str]]:
    from plait.client import Client

    async with Client(url) as client:
        found = await client.batch([("eth_getBlockByNumber", (hex(number), False)) for number in range(last + 1)])
    return [block for block in found if isinstance(block, dict)]


async def _plait(*arguments: str) -> tuple[int, str]:
    return await _run(sys.executable, "-m", "plait.cli.main", "opstack", *arguments)


async def _run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 90)
    return process.returncode or 0, (output or errors).decode().strip()
