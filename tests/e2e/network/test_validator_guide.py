"""What the guide "run a validator" says is what happens: founders make homes and a network, a third joins and stakes;
Plait and CometBFT end together.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from running_network import ROOT, require_cometbft, until

from plait.client import Client, NodeUnreachable
from plait.node.node_file import read_settings
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.layout import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.cometbft]
GUIDE = (ROOT / "docs" / "guides" / "run-a-validator.md").read_text()
PLAIT = (sys.executable, "-m", "plait.cli.main")


async def plait(*arguments: object) -> Any:
    process = await asyncio.create_subprocess_exec(
        *PLAIT, *map(str, arguments), "--json", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    output, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode() + said.decode()
    return json.loads(output)


@asynccontextmanager
async def node(home: Path) -> AsyncIterator[tuple[dict[str, Any], asyncio.subprocess.Process]]:
    """A running `plait node`, killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *PLAIT, "node", "--home", str(home), "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        yield json.loads(line), process
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def set_ports(home: Path, **settings: object) -> None:
    """Edits node.toml as an operator does; three nodes on one machine need ports of their own."""
    rpc, p2p, comet = free_ports(3)
    path = home / "node.toml"
    text = path.read_text()
    for name, value in {
        "port": rpc, "rollup_port_base": 0, "p2p_port": p2p, "comet_rpc_port": comet, **settings
    }.items():  # fmt: skip
        text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {json.dumps(value)}", text)
        assert count == 1, name
    path.write_text(text)


def founders_network(entries: list[dict[str, Any]]) -> bytes:
    """The guide's network.json with the founders' own entries."""
    (block,) = re.findall(r"```json\n(.*?)```", GUIDE, re.S)
    network = json.loads(block)
    assert sorted(network["validators"][0]) == ["name", "operator", "public_key", "stake"]
    network["validators"] = [
        network["validators"][at]
        | {"operator": DEVELOPMENT_ACCOUNTS[at].address_text, "public_key": entry["publicKey"]}
        for at, entry in enumerate(entries)
    ]
    network["accounts"] = [
        account | {"address": DEVELOPMENT_ACCOUNTS[5].address_text} for account in network["accounts"]
    ]
    network["genesis_time_s"] = int(time.time()) - 2
    network["ledger"] = {"epoch_heights": 20}
    return json.dumps(network).encode()


async def height_of(url: str) -> int:
    try:
        async with Client(url, timeout_s=1) as client:
            return int((await client.call("plait_slot"))["height"])
    except NodeUnreachable:
        return 0


async def decided(urls: list[str], height: int) -> None:
    async def all_have() -> bool:
        return min([await height_of(url) for url in urls]) >= height

    async def state() -> list[int]:
        return [await height_of(url) for url in urls]

    await until(all_have, seconds=30, what=f"all decide height {height}", state=state)


@pytest.mark.timeout(420)
async def test_founders_make_a_network_and_a_stranger_joins_it_and_stakes(tmp_path: Path) -> None:
    require_cometbft()
    homes = {name: tmp_path / name for name in ("alice", "bob", "carol")}
    made = {name: await plait("init", "--home", home, "--name", name) for name, home in homes.items()}
    file = tmp_path / "network.json"
    await asyncio.to_thread(file.write_bytes, founders_network([made["alice"], made["bob"]]))
    for home in homes.values():
        await asyncio.to_thread(set_ports, home)
    alice = f"{made['alice']['nodeId']}@127.0.0.1:{read_settings(homes['alice']).p2p_port}"
    roles = {}
    for name, home in homes.items():
        peers = () if name == "alice" else ("--peer", alice)
        roles[name] = (await plait("init", "--home", home, "--network", file, *peers))["validator"]
    assert roles == {"alice": True, "bob": True, "carol": False}
    async with node(homes["alice"]) as (first, _), node(homes["bob"]) as (second, _):
        urls = [first["url"], second["url"]]
        await decided(urls, 5)
        async with node(homes["carol"]) as (third, _):
            urls.append(third["url"])
            await decided(urls, 12)
            await stake(tmp_path, homes["carol"], third["url"])
            async with Client(first["url"]) as client:

                async def votes() -> bool:
                    found = await client.call("plait_getValidators")
                    return any(one["name"] == "carol" and one["heightsSigned"] > 0 for one in found)

                await until(votes, seconds=40, what="carol's votes are counted")


async def stake(tmp_path: Path, home: Path, url: str) -> None:
    """Step 5, with a key that owns PLAIT at genesis."""
    keys = tmp_path / "keys"
    await plait("keys", "import", "carol", "--development", 5, "--keys-dir", keys)
    await plait(
        *("validator", "join", "--home", home, "--stake", 10_000, "--name", "carol", "--from", "carol"),
        *("--keys-dir", keys, "--url", url),
    )


@pytest.mark.timeout(420)
async def test_plait_and_cometbft_end_together(tmp_path: Path) -> None:
    require_cometbft()
    home = tmp_path / "home"
    made = await plait("init", "--home", home)
    file = tmp_path / "network.json"
    await asyncio.to_thread(file.write_bytes, founders_network([made]))
    await asyncio.to_thread(set_ports, home)
    await plait("init", "--home", home, "--network", file)
    async with node(home) as (ready, process):
        await decided([ready["url"]], 2)
        os.kill(comet_of(home), signal.SIGKILL)
        assert process.stdout is not None
        ended = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        assert ended["error"]["code"] == "cometbft_failed"
        assert await asyncio.wait_for(process.wait(), 10) == 4
    async with node(home) as (ready, process):
        await decided([ready["url"]], 4)
        comet = comet_of(home)
        process.kill()
        await process.wait()

        async def gone() -> bool:
            return not is_alive(comet)

        await until(gone, seconds=20, what="CometBFT ends when the node was killed")
    async with node(home) as (ready, _):
        await decided([ready["url"]], 6)


def comet_of(home: Path) -> int:
    return int((home / "cometbft" / "cometbft.pid").read_text())


def is_alive(process: int) -> bool:
    return Path(f"/proc/{process}/exe").exists()
