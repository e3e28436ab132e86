"""`plait opstack` as a person uses it: up, status, a deposit with the printed command, stop, up again, down."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from running_opstack import ROOT, blocks, cast_path, running_opstack, until

pytestmark = [pytest.mark.slow, pytest.mark.opgeth, pytest.mark.node_js]
_WORDS_OF_A_DEPOSIT = 8


async def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    """docs/opstack.md in its order: status, kill, start, stop, up again, down; and a deposit as `up` prints it.

    The second start continues L1, rollups and verifiers; blocks that were safe have the same hashes.
    """
    directory = tmp_path / "net"
    commands = _commands_of_the_page()
    assert [one[0] for one in commands] == ["status", "kill", "start", "stop", "up", "down"], commands
    async with running_opstack(directory, "--rollups", "1") as network:
        await _deposit_as_printed(network.description["cast"], network.l1_url, network.rollups[0])
        code, text = await _plait(directory, *commands.pop(0))
        assert code == 0
        assert "equal" in text
        assert "DIFFER" not in text
        code, _ = await _plait(directory, *commands.pop(0))
        assert code == 0
        killed = await _status(directory)
        assert killed["programs"]["op-geth-901-engine"]["state"] == "stopped"
        code, _ = await _plait(directory, *commands.pop(0))
        assert code == 0
        await network.require_engines_follow()
        started = await _status(directory)
        assert all(program["state"] == "running" for program in started["programs"].values()), started
        (head,) = await network.require_derived()
        hashes = await blocks(network.rollups[0]["verifierUrl"], 0, head)
        code, _ = await _plait(directory, *commands.pop(0))
        assert code == 0
        assert await asyncio.wait_for(network.process.wait(), 40) == 0

    assert commands.pop(0) == ["up"]
    async with running_opstack(directory) as network:
        assert network.description["isNew"] is False
        await network.heads_reach(head + 4, 40)
        await network.require_derived()
        assert await blocks(network.rollups[0]["verifierUrl"], 0, head) == hashes
        code, _ = await _plait(directory, *commands.pop(0), "--json")
        assert code == 0
    assert not (directory / "opstack.json").exists()
    assert not list(directory.glob("9*"))
    code, found = await _plait(directory, "status", "--json")
    assert code == 4
    assert json.loads(found)["error"]["code"] == "testnet_not_running"


def _commands_of_the_page() -> list[list[str]]:
    """Words after `plait opstack` of the page's first block of commands."""
    page = (ROOT / "docs" / "opstack.md").read_text()
    block = next(one for one in re.findall(r"```\n(.*?)```", page, re.DOTALL) if "plait opstack status" in one)
    return [line.split("#")[0].split()[2:] for line in block.splitlines() if line.startswith("plait opstack")]


async def _status(directory: Path) -> dict[str, Any]:
    code, found = await _plait(directory, "status", "--json")
    assert code == 0, found
    status: dict[str, Any] = json.loads(found)
    return status


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


async def _plait(directory: Path, *arguments: str) -> tuple[int, str]:
    command = (sys.executable, "-m", "plait.cli.main", "opstack", *arguments, "--data-dir", str(directory))
    return await _run(*command)


async def _run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 90)
    return process.returncode or 0, (output or errors).decode().strip()
