"""`plait rollup add` takes a chain from a running op-node sequencer, `plait rollup run` goes on with it and posts it, a
stock verifier derives the same blocks, and `plait rollup handover give` gives it back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from engine_processes import can_build, free_ports
from test_handover import RECIPIENT, comes, number_of, transfer

from plait.client import Client
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.handover import OpNode
from plait.rollups.opstack.jwt import read_secret
from plait.testnet.opstack.founding import Founding
from plait.testnet.opstack.layout import PortPlan
from plait.testnet.opstack.programs import find_programs
from plait.testnet.opstack.supervisor import HOST, OpStack
from plait.types import BlockNumber
from tests.peers.stock_sequencer import stock_sequencer

pytestmark = [pytest.mark.opgeth, pytest.mark.node_js, pytest.mark.slow]


async def plait(*arguments: str, refused: str | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "plait.cli.main", "rollup", *arguments, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    if refused is not None:
        assert (process.returncode, err.decode().split(":")[0]) == (4, f"error ({refused})")
        return ""
    assert process.returncode == 0, (arguments[0], (out + err).decode())
    return out.decode()


@contextlib.asynccontextmanager
async def running(*arguments: str, log: Path) -> AsyncIterator[dict[str, Any]]:
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "plait.cli.main", "rollup", "run", *arguments, "--json", stdout=-1, stderr=errors
        )
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), 60)
            assert line, log.read_text()[-3_000:]  # noqa: ASYNC240 - it has ended
            yield json.loads(line)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def test_a_chain_joins_a_network_and_leaves_it_again(tmp_path: Path) -> None:
    if not can_build():
        pytest.skip("op-geth is neither there nor can it be built")
    async with OpStack.running(
        tmp_path / "stack", find_programs(), Founding(rollups=1, ports=PortPlan(rpc=0)), sequencer=False
    ) as stack:
        chain_id = stack.layout.rollups[0].chain_id
        home = stack.directory / str(chain_id)
        engine_url = f"http://{HOST}:{stack.ports.programs[0].engine_auth}"
        named = (
            "--engine", engine_url, "--jwt", str(stack.directory / "jwt.hex"), "--rollup-config",
            str(home / "rollup.json"),
        )  # fmt: skip
        process, node_url = stock_sequencer(stack)
        await process.start()
        endpoints = stack.endpoints(0)
        network = tmp_path / "network"
        try:
            async with (
                OpNode(node_url) as node,
                Client(endpoints.engine) as eth,
                Client(endpoints.verifier) as verifier,
                EngineClient(engine_url, read_secret(stack.directory / "jwt.hex")) as client,
            ):
                await eth.call("eth_sendRawTransaction", "0x" + transfer(chain_id, 0).hex())
                assert await comes(lambda: number_of(node), 3)

                whole = (
                    *named,
                    "--genesis",
                    str(home / "genesis.json"),
                    "--op-node",
                    node_url,
                    "--data-dir",
                    str(network),
                )
                await plait("add", *whole, "--l1", endpoints.engine, refused="l1_chain_mismatch")
                await plait("run", "--data-dir", str(tmp_path), refused="network_missing")
                assert await node.is_sequencing()
                added = json.loads(await plait("add", *whole, "--l1", stack.l1_url, "--json"))
                await plait("add", *whole, "--l1", stack.l1_url, refused="rollup_already_registered")
                assert not await node.is_sequencing()
                anchor = added["number"]

                port = free_ports(1)[0]
                key = ("--batcher-key", str(stack.directory / "batcher.key"))
                for nonce in (1, 2):  # the second time it goes on where it stopped
                    run = running("--data-dir", str(network), "--port", str(port), *key, log=tmp_path / "node.log")
                    async with run as described, Client(described["rollups"][0]["url"]) as here:
                        before = int(await here.call("eth_blockNumber"), 16)
                        await here.call("eth_sendRawTransaction", "0x" + transfer(chain_id, nonce).hex())
                        assert await comes(lambda: balance(eth), 5 * (nonce + 1))
                        assert await comes(lambda: head_of(eth), before + 3)
                        assert await comes(lambda: head_of(verifier, "safe"), anchor + 3)
                        [engine] = await here.call("plait_getEngines")
                        assert (engine["rollupId"], engine["state"]) == (chain_id, "following"), engine
                await plait("add", *whole, "--l1", stack.l1_url, refused="network_started")
                for number in (anchor, anchor + 1, anchor + 3):
                    shown = [
                        (await side.call("eth_getBlockByNumber", hex(number), False))["hash"]
                        for side in (eth, verifier)
                    ]
                    assert shown[0] == shown[1]

                given = json.loads(await plait("handover", "give", "--op-node", node_url, *named, "--json"))
                assert given["number"] > anchor
                assert await comes(lambda: number_of(node), given["number"] + 3)
                for number in range(1, given["number"] + 3):
                    below, above = [await client.block(BlockNumber(at)) for at in (number, number + 1)]
                    assert below is not None
                    assert above is not None
                    assert (above.parent_hash, above.timestamp) == (below.hash, below.timestamp + 1)
        finally:
            await process.stop()


async def balance(client: Client) -> int:
    return int(await client.call("eth_getBalance", "0x" + RECIPIENT.hex(), "latest"), 16)


async def head_of(client: Client, tag: str = "latest") -> int:
    block = await client.call("eth_getBlockByNumber", tag, False)
    return -1 if block is None else int(block["number"], 16)
