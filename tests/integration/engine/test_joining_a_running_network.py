"""A chain that stock programs run joins a network that sequences another one: bound, taken over from its op-node,
anchored, sequenced beside it, derived alike by stock verifiers, and given back while the network goes on."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from engine_processes import can_build, free_ports
from test_add_and_run import balance, head_of, plait, running
from test_handover import comes, number_of, transfer

from plait.client import Client
from plait.derivation.l1_info import decode_l1_attributes
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.handover import OpNode
from plait.rollups.opstack.importing import fetch_blocks
from plait.rollups.opstack.jwt import read_secret
from plait.testnet.opstack.founding import Founding
from plait.testnet.opstack.layout import PortPlan
from plait.testnet.opstack.programs import find_programs
from plait.testnet.opstack.supervisor import HOST, OpStack
from plait.types import BlockNumber
from tests.peers.stock_sequencer import stock_sequencer

pytestmark = [pytest.mark.opgeth, pytest.mark.node_js, pytest.mark.slow]


async def test_a_chain_joins_a_running_network_and_leaves_it(tmp_path: Path) -> None:
    if not can_build():
        pytest.skip("op-geth is neither there nor can it be built")
    async with OpStack.running(
        tmp_path / "stack", find_programs(), Founding(rollups=2, ports=PortPlan(rpc=0)), sequencer=False
    ) as stack:
        ids = [entry.chain_id for entry in stack.layout.rollups]
        homes = [stack.directory / str(chain_id) for chain_id in ids]
        jwt = stack.directory / "jwt.hex"
        engine_urls = [f"http://{HOST}:{ports.engine_auth}" for ports in stack.ports.programs]
        named = [
            ("--engine", url, "--jwt", str(jwt), "--rollup-config", str(home / "rollup.json"))
            for url, home in zip(engine_urls, homes, strict=True)
        ]
        sequencers = [stock_sequencer(stack, at) for at in (0, 1)]
        network = tmp_path / "network"
        copy = network / "node" / "imports" / str(ids[1])
        whole = (*named[1], "--genesis", str(homes[1] / "genesis.json"), "--into", str(copy))
        owner = ("--from", "operator", "--keys-dir", str(network / "keys"))
        port = free_ports(1)[0]
        url = f"http://{HOST}:{port}"
        at_node = ("--url", url, "--json")
        try:
            await asyncio.gather(*(process.start() for process, _ in sequencers))
            async with (
                OpNode(sequencers[0][1]) as first,
                OpNode(sequencers[1][1]) as second,
                Client(stack.endpoints(1).engine) as eth,
                Client(stack.endpoints(1).verifier) as verifier,
                Client(stack.endpoints(0).verifier) as other,
                EngineClient(engine_urls[1], read_secret(jwt)) as client,
            ):
                assert await comes(lambda: number_of(first), 3)
                add = ("--genesis", str(homes[0] / "genesis.json"), "--data-dir", str(network), "--l1", stack.l1_url)
                await plait("add", *named[0], *add, "--op-node", sequencers[0][1])
                run = (
                    "--data-dir", str(network), "--port", str(port), "--batcher-key",
                    str(stack.directory / "batcher.key"), "--engine", str(ids[1]), engine_urls[1], str(jwt),
                )  # fmt: skip
                async with running(*run, log=tmp_path / "node.log"), Client(url) as here:
                    await plait("bind", "--rollup-config", str(homes[1] / "rollup.json"), *owner, *at_node)
                    await eth.call("eth_sendRawTransaction", "0x" + transfer(ids[1], 0).hex())
                    bound = await entry(here, ids[1])
                    assert bound["status"] == "bound"
                    known = int(bound["joining"]["boundNumber"])
                    await plait("import", *whole)
                    assert await second.is_sequencing()
                    assert await comes(lambda: origin_of(client), known + 1), "op-node goes on past the binding"
                    taken = json.loads(await plait("handover", "take", *whole, "--op-node", sequencers[1][1], "--json"))
                    assert not await second.is_sequencing()
                    await asyncio.sleep(4)  # the network agrees on the anchor's L1 origin
                    await plait("anchor", str(copy), *owner, *at_node)
                    assert (await entry(here, ids[1]))["status"] == "pending"
                    assert await comes(lambda: active(here, ids[1]), 1)
                    anchor = taken["number"]
                    assert await comes(lambda: head_of(eth), anchor + 5)
                    async with Client(f"{url}/{ids[1]}") as joined:
                        assert int(await joined.call("eth_chainId"), 16) == ids[1]
                        await joined.call("eth_sendRawTransaction", "0x" + transfer(ids[1], 1).hex())
                        assert await comes(lambda: balance(eth), 10)
                        reached = await head_of(joined)
                    assert await comes(lambda: head_of(verifier, "safe"), reached)
                    assert await comes(lambda: head_of(other, "safe"), 5)

                await replayed(network / "node")
                # it goes on where it stopped
                async with running(*run, log=tmp_path / "node.log"), Client(url) as here:
                    reached = await head_of(eth)
                    assert await comes(lambda: head_of(eth), reached + 3)
                    for number in range(max(1, anchor - 3), reached):
                        shown = [
                            (await side.call("eth_getBlockByNumber", hex(number), False)) for side in (eth, verifier)
                        ]
                        if shown[1] is None:
                            break
                        assert shown[0]["hash"] == shown[1]["hash"], number
                    await plait("leave", str(ids[1]), *owner, *at_node)
                    assert await comes(lambda: gone(here, ids[1]), 1)
                    await asyncio.sleep(1.5)  # the engine is given the last block
                    give = ("--op-node", sequencers[1][1], *named[1], "--json")
                    given = json.loads(await plait("handover", "give", *give))
                    assert await comes(lambda: number_of(second), given["number"] + 3)
                    for number in range(1, given["number"] + 3):
                        below, above = [await client.block(BlockNumber(at)) for at in (number, number + 1)]
                        assert below is not None
                        assert above is not None
                        assert (above.parent_hash, above.timestamp) == (below.hash, below.timestamp + 1)
                    before = await head_of(other, "safe")
                    assert await comes(lambda: head_of(other, "safe"), before + 3), "the other chain goes on"
        finally:
            for process, _ in sequencers:
                await process.stop()


async def replayed(home: Path) -> None:
    """The log replays from the network's genesis, through the join, to the same hashes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "plait.cli.main", "verify-log", "--data-dir", str(home), "--json", stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (out + err).decode()


async def entry(here: Client, chain_id: int) -> dict[str, Any]:
    found = await here.call("plait_getRollups")
    return next(one for one in found["rollups"] if one["rollupId"] == chain_id)


async def active(here: Client, chain_id: int) -> int:
    return int((await entry(here, chain_id))["status"] == "active")


async def gone(here: Client, chain_id: int) -> int:
    return int(any(one["rollupId"] == chain_id for one in (await here.call("plait_getRollups"))["departed"]))


async def origin_of(client: EngineClient) -> int:
    """L1 origin of an engine's newest block."""
    head = await client.block("latest")
    assert head is not None
    [block] = await fetch_blocks(client, head.number, 1)
    return decode_l1_attributes(block.payload.transactions[0]).number
