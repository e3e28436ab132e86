"""`plait testnet` as a person uses it: started, asked, changed, broken, stopped, continued, forgotten."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from running_network import NODES, ROOT, Network, require_cometbft, running_network, until

from plait.client import Client
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from sim.wallet import Wallet

pytestmark = [pytest.mark.slow, pytest.mark.cometbft]
PLAIT = (sys.executable, "-m", "plait.cli.main")


async def plait(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *PLAIT, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
        env={**os.environ, "COLUMNS": "160"},
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def told(network: Network, *arguments: str) -> Any:
    code, text = await plait("testnet", *arguments, "--data-dir", str(network.data_dir), "--json")
    assert code == 0, text
    return json.loads(text)


async def states(network: Network) -> dict[str, str]:
    return {node["name"]: node["state"] for node in (await told(network, "status"))["nodes"]}


@pytest.mark.timeout(420)
async def test_a_network_is_asked_changed_broken_stopped_and_continued(tmp_path: Path) -> None:
    data_dir = tmp_path / "net"
    async with running_network(data_dir) as network:
        await network.decide(heights=2)
        found = await told(network, "status")
        assert found["agree"] is True
        assert [node["power"] for node in found["nodes"]] == [1_000_000] * 4
        code, text = await plait("testnet", "status", "--data-dir", str(data_dir))
        assert code == 0, text
        assert all(name in text for name in NODES)

        await told(network, "stop", "node4")
        assert (await states(network))["node4"] == "stopped"
        await network.decide(NODES[:3])
        await told(network, "start", "node4")
        await told(network, "chaos", "pause", "node4", "--for", "2")
        assert (await states(network))["node4"] == "paused"
        await network.decide(NODES)
        await told(network, "chaos", "partition", "node1,node2", "--silent")
        assert len((await told(network, "status"))["brokenLinks"]) == 4
        await told(network, "chaos", "heal")
        await network.decide(NODES)
        await refusals(network)
        hash_ = await a_transfer(network)
        before = await network.heights()
        await told(network, "stop")
        assert await asyncio.wait_for(network.process.wait(), 30) == 0
    async with running_network(data_dir) as network:
        assert min((await network.heights()).values()) >= min(before.values()), "the network did not continue"
        async with Client(network.urls["node3"]) as client:
            status = await client.call("plait_getTransactionStatus", hash_)
        assert status["level"] in {"decided", "sealed"}
        await network.require_equal()
    async with running_network(data_dir, "--reset", "--validators", "1", "--rollups", "1") as network:
        assert list(network.urls) == ["node1"]
        assert network.rollups == [901]
        await network.decide(["node1"])


async def refusals(network: Network) -> None:
    """Each a code and a sentence, and nothing happens."""
    where = ("--data-dir", str(network.data_dir))
    for code_wanted, arguments in (
        ("node_unknown", ("stop", "node9")),
        ("node_running", ("start", "node1")),
        ("partition_invalid", ("chaos", "partition", "node1,node1,node2,node3,node4")),
        ("fault_time", ("chaos", "pause", "node1", "--for", "-1")),
    ):
        code, text = await plait("testnet", *arguments, *where)
        assert code == 4, text
        assert code_wanted in text
        assert "Traceback" not in text
    code, text = await plait("testnet", *where, "--port", "0")
    assert (code, "data_directory_in_use" in text) == (4, True), text
    assert set((await states(network)).values()) == {"running"}


async def a_transfer(network: Network) -> str:
    """Sent to one node, decided on another."""
    wallet = Wallet(DEVELOPMENT_ACCOUNTS[0].private_key)
    raw = wallet.sign_1559(901, 0, to=bytes([9]) * 20, value=5, max_fee_per_gas=10**10)
    async with Client(network.urls["node1"]) as client, Client(network.urls["node2"]) as other:
        hash_ = str(await client.at("901").call("eth_sendRawTransaction", "0x" + raw.hex()))

        async def decided() -> bool:
            status = await other.call("plait_getTransactionStatus", hash_)
            return status is not None and status["level"] in {"decided", "sealed"}

        await until(decided, seconds=10, what="node2 has decided what node1 was sent")
    return hash_


@pytest.mark.timeout(420)
async def test_a_validator_joins_and_another_leaves_without_a_height_lost(tmp_path: Path) -> None:
    async with running_network(tmp_path / "net") as network:
        await network.decide(heights=2)
        added = await told(network, "add")
        assert added["name"] == "node5"
        found = {node["name"]: node for node in (await told(network, "status"))["nodes"]}
        assert found["node5"]["power"] == 500_000
        first = min((await network.heights()).values())
        await told(network, "remove", "node2")
        found = {node["name"]: node for node in (await told(network, "status"))["nodes"]}
        assert sorted(found) == ["node1", "node3", "node4", "node5"]
        assert not (network.data_dir / "node2").exists()
        await network.look_up()
        last = await network.require_equal(["node1", "node3", "node4", "node5"])
        rounds = await network.rounds("node1", first, last)
        assert sum(rounds.values()) <= 1, f"the change of validators cost heights their first round: {rounds}"


@pytest.mark.timeout(420)
async def test_nothing_runs_on_when_the_supervisor_is_killed_and_the_network_continues(tmp_path: Path) -> None:
    require_cometbft()
    data_dir = tmp_path / "net"
    process = await asyncio.create_subprocess_exec(
        *PLAIT, "testnet", "--json", "--port", "0", "--validators", "2", "--data-dir", str(data_dir),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None
    network = Network(data_dir, json.loads(await asyncio.wait_for(process.stdout.readline(), 60)))
    await network.decide(["node1", "node2"])
    assert processes_of(data_dir), "no process names the directory; this test would show nothing"
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()

    async def gone() -> bool:
        return not processes_of(data_dir)

    await until(gone, seconds=30, what="every process of the network ends")
    async with running_network(data_dir) as network:
        await network.decide(["node1", "node2"])


def processes_of(data_dir: Path) -> list[str]:
    """Command lines that name the directory."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(data_dir) in line:
            found.append(line)
    return found
