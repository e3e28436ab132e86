"""A light client proves the streams of a real network of four validators, against any of its nodes; it refuses a node
that lies, whatever the node lies about.

Replay with the seed it prints:
    PLAIT_NETWORK_SEED=<seed> .venv/bin/pytest tests/e2e/network/test_light_verification.py
"""

import ast
import asyncio
import json
import re
import sys
import types
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from network_faults import network_seed
from network_load import Load
from running_network import ROOT, Network, running_network, until

from plait.client import Client as RpcClient
from plait.client.light import RpcProvider
from plait.light import Client, SubBlock, Trusted
from plait.types import Height, RollupId, Slot

pytestmark = [pytest.mark.slow, pytest.mark.cometbft]
TRANSACTIONS_MIN, BUNDLES_MIN = 40, 3
"""Reported as decided before anything is proven."""
Forge = Callable[[str, Any], Any]
"""From a method and its honest result to what is shown."""


@pytest.mark.timeout(420)
async def test_streams_of_a_real_network_are_proven_and_lies_about_them_refused(tmp_path: Path) -> None:
    seed = network_seed(Path(__file__))
    async with running_network(tmp_path / "net") as network:
        async with Load(network, seed).running() as load:
            await network.decide(heights=30, seconds=60)

            async def enough() -> bool:
                return len(load.decided) > TRANSACTIONS_MIN and len(load.bundles) >= BUNDLES_MIN

            await until(enough, seconds=60, what=f"{TRANSACTIONS_MIN} transactions and {BUNDLES_MIN} bundles")
        await network.decide(heights=12)
        trusted = await block_of(network, "node2", 2)
        first, last = await slots_of(network)
        await proves_what_the_nodes_show(network, load, trusted, first, last)
        told = await verify(network, trusted, first, last)
        assert told["ok"], told
        assert told["witnesses"] == {"asked": 3, "agreed": 3, "faults": {}}
        assert told["rollupIds"] == network.rollups
        assert all(3 * one["signed"] > 2 * one["total"] for one in told["anchors"])
        await runs_the_guides_example(network, trusted, first, last)
        await refuses_lies(network, trusted, first, last)


async def block_of(network: Network, node: str, height: int) -> Trusted:
    async with RpcProvider(network.urls[node]) as provider:
        block = await provider.light_block(Height(height))
    return Trusted(block.height, block.hash)


async def slots_of(network: Network) -> tuple[Slot, Slot]:
    """From the second slot that has sub-blocks to the last one that is over."""
    async with RpcClient(network.urls["node1"]) as client:
        newest = await client.call("plait_getSubBlock", "latest")
        second = await client.call("plait_getSubBlock", 2)
    return Slot(second["slot"] + 1), Slot(newest["slot"] - 2)


async def proves_what_the_nodes_show(network: Network, load: Load, trusted: Trusted, first: Slot, last: Slot) -> None:
    """Each rollup's stream, proven from one node's answers, is what another node shows of every sub-block, and has
    every transaction that any node reported as decided there."""
    for rollup in network.rollups:
        seen: list[SubBlock] = []
        async with RpcProvider(network.urls["node1"]) as primary, RpcProvider(network.urls["node4"]) as witness:
            client = Client(primary, trusted, witnesses=[witness])
            account = await client.account(RollupId(rollup), first, last, each=seen.append)
            assert client.witness_faults == {}
        heights = [one.height for one in seen]
        assert heights == list(range(account.first_height, account.last_height + 1))
        async with RpcClient(network.urls["node3"]) as other:
            shown = await other.batch([("plait_getSubBlock", (height,)) for height in heights])
        found: set[str] = set()
        for one, honest in zip(seen, shown, strict=True):
            transactions = ["0x" + hash_.hex() for item in one.read_items() for hash_ in item.transactions]
            (expected,) = [entry for entry in honest["rollups"] if entry["rollupId"] == rollup]
            assert transactions == expected["transactions"]
            assert "0x" + one.app_hash.hex() == honest["appHash"]
            found |= set(transactions)
        reported = {
            hash_ for hash_, (where, height, _) in load.decided.items() if where == rollup and height in heights
        }
        assert reported <= found
        assert reported or rollup != network.rollups[0], "none of the transactions lies in the range"
        assert account.legs > 0, "no bundle lies in the range"


# ---------------------------------------------------------------- the command, as a person runs it
async def verify(network: Network, trusted: Trusted, first: Slot, last: Slot, *, primary: str | None = None) -> Any:
    """`plait verify --json`: node1, or `primary` in its place, with the other nodes as witnesses."""
    nodes = list(network.urls.values())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plait.cli.main", "verify", primary or nodes[0], *nodes[1:], "--json"),
        *("--trusted-height", str(trusted.height), "--trusted-hash", trusted.hash.hex()),
        *("--rollup", str(network.rollups[0]), "--slots", f"{first}-{last}"),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    output, _ = await process.communicate()
    told = json.loads(output)
    assert process.returncode == (0 if told.get("ok") else 1), told
    return told


async def runs_the_guides_example(network: Network, trusted: Trusted, first: Slot, last: Slot) -> None:
    """The code of docs/guides/verify.md, with this network's addresses."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/verify.md").read_text(), re.DOTALL)
    for port, node in (("8545", "node1"), ("8546", "node2")):
        code = code.replace(f"http://127.0.0.1:{port}", network.urls[node])
    values: dict[str, Any] = {"height": trusted.height, "block_hash": trusted.hash}
    values |= {"first_slot": first, "last_slot": last}
    program = compile(code, "verify.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await types.FunctionType(program, values)()
    assert values["account"].items > 0
    assert values["block"].height > values["account"].last_height


# ---------------------------------------------------------------- nodes that lie
def hide_items(method: str, result: Any) -> Any:
    return [] if method == "plait_getSubBlockItems" else result


def swap_items(method: str, result: Any) -> Any:
    return result[::-1] if method == "plait_getSubBlockItems" else result


def drop_header(method: str, result: Any) -> Any:
    return [result[0], *result[2:], result[-1]] if method == "plait_getSubBlockHeaders" else result


def cut_range(method: str, result: Any) -> Any:
    return result | {"end": result["end"] - 4} if method == "plait_getHeightsOfSlots" else result


def other_app_hash(method: str, result: Any) -> Any:
    if method == "plait_getLightBlock":
        result["signed_header"]["header"]["app_hash"] = "00" * 32
    return result


def other_power(method: str, result: Any) -> Any:
    if method == "plait_getLightBlock":
        result["validators"][0]["voting_power"] = str(10**9)
    return result


def other_signature(method: str, result: Any) -> Any:
    if method == "plait_getLightBlock" and int(result["signed_header"]["header"]["height"]) > 2:
        signed = [one for one in result["signed_header"]["commit"]["signatures"] if one["signature"]]
        for one in signed:
            one["signature"] = signed[0]["signature"]
    return result


LIES: dict[Forge, set[str]] = {
    hide_items: {"light_items_mismatch"},
    swap_items: {"light_items_mismatch"},
    drop_header: {"light_height_wrong", "light_app_hash_mismatch", "light_parent_mismatch"},
    cut_range: {"light_boundary_wrong"},
    other_app_hash: {"light_trusted_hash_wrong"},
    other_power: {"light_validators_mismatch"},
    other_signature: {"light_signature_invalid"},
}


async def refuses_lies(network: Network, trusted: Trusted, first: Slot, last: Slot) -> None:
    for lie, codes in LIES.items():
        async with lying(network.urls["node1"], lie) as url:
            told = await verify(network, trusted, first, last, primary=url)
        assert told.get("error", {}).get("code") in codes, f"{lie.__name__}: {told}"


@asynccontextmanager
async def lying(url: str, forge: Forge) -> AsyncIterator[str]:
    """A server that passes every call on to a node and changes its results."""
    async with ClientSession() as session:

        async def answer(request: web.Request) -> web.Response:
            asked = await request.json()
            async with session.post(url, json=asked) as response:
                told = await response.json()
            for one, reply in zip(asked, told, strict=True) if isinstance(asked, list) else [(asked, told)]:
                if "result" in reply:
                    reply["result"] = forge(one["method"], reply["result"])
            return web.json_response(told)

        application = web.Application()
        application.router.add_post("/", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
