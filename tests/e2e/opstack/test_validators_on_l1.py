"""Four validators, each with its own L1 node, one of them lying: deposits arrive, reorganisations are taken back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "integration" / "l1"), str(ROOT / "tests" / "e2e" / "network")]

from anvil_l1 import NOBODY, WALLET, Anvil, calldata  # noqa: E402
from running_network import require_cometbft  # noqa: E402
from tampering import Proxy  # noqa: E402

from plait.client import Client, NodeUnreachable, RpcError  # noqa: E402
from plait.derivation.l1_info import decode_l1_attributes_data  # noqa: E402
from plait.l1.client import L1Client  # noqa: E402
from plait.node.config import AccountConfig, ValidatorConfig, decode_network  # noqa: E402
from plait.node.home import join_network  # noqa: E402
from plait.node.node_file import NodeSettings  # noqa: E402
from plait.node.opstack_file import OPSTACK_FILE  # noqa: E402
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS  # noqa: E402
from plait.storage import NETWORK_FILE  # noqa: E402
from plait.testnet.founding import STAKE, make_node  # noqa: E402
from plait.testnet.layout import Layout, PortPlan  # noqa: E402
from plait.testnet.opstack.founding import Founding, found  # noqa: E402
from plait.testnet.supervisor import Supervisor  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.cometbft, pytest.mark.node_js]

ROLLUP = 901
DEPOSIT = "depositTransaction(address,uint256,uint64,bool,bytes)"


async def network_on(
    anvil: Anvil, directory: Path, urls: list[str], accounts: tuple[AccountConfig, ...] = ()
) -> tuple[Layout, str]:
    """A network of as many validators as there are L1 nodes, with one rollup that derives from L1; its portal."""
    async with L1Client(anvil.url) as l1:
        portal = (await found(directory, Founding(rollups=1, l1_block_time_s=1), l1)).rollups[0].portal
    network = decode_network((directory / NETWORK_FILE).read_bytes(), NETWORK_FILE)
    assert network.l1 is not None
    nodes = [make_node(directory, at + 1, NodeSettings(pex=False), operator=at) for at in range(len(urls))]
    network = msgspec.structs.replace(
        network,
        l1=msgspec.structs.replace(network.l1, reporter=""),
        accounts=accounts,
        validators=tuple(
            ValidatorConfig(
                operator=DEVELOPMENT_ACCOUNTS[at].address_text, public_key=node.public_key, stake=STAKE, name=node.name
            )
            for at, node in enumerate(nodes)
        ),
    )
    network.check()
    (directory / NETWORK_FILE).write_bytes(network.encode())
    for node, url in zip(nodes, urls, strict=True):
        join_network(directory / node.name, network)
        settings = directory / node.name / OPSTACK_FILE
        settings.write_text(f'[l1]\nrpc_url = "{url}"\n')
        settings.chmod(0o600)
    layout = Layout(nodes=tuple(nodes), next_place=len(nodes) + 1, ports=PortPlan(rpc=0, rollups=0, comet=0))
    layout.write(directory)
    return layout, portal


class Validators:
    """What the nodes of a running network say of the rollup."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def blocks(self, node: str) -> list[dict[str, Any]]:
        """All sealed blocks of a node, with their transactions; none while it does not answer."""
        url = self._supervisor.members[node].description["url"]
        try:
            async with Client(f"{url}/{ROLLUP}", timeout_s=20) as client:
                head = int(await client.call("eth_blockNumber"), 16)
                return await client.batch([("eth_getBlockByNumber", (hex(at), True)) for at in range(head + 1)])
        except (NodeUnreachable, RpcError):
            return []

    async def all_blocks(self) -> list[list[dict[str, Any]]]:
        return list(await asyncio.gather(*(self.blocks(name) for name in self._supervisor.members)))


def origin_of(block: dict[str, Any]) -> tuple[int, bytes]:
    """(number, hash) of a block's L1 origin."""
    attributes = decode_l1_attributes_data(bytes.fromhex(block["transactions"][0]["input"][2:]))
    return attributes.number, attributes.hash


def deposits_in(blocks: list[dict[str, Any]]) -> int:
    kinds = [one["type"] for block in blocks for one in block["transactions"][1:]]
    return kinds.count("0x7e")


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 90) -> None:
    for _ in range(int(seconds * 2)):
        if await condition():
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"not within {seconds} s: {what}")


@contextlib.asynccontextmanager
async def mined(anvil: Anvil) -> AsyncIterator[None]:
    """A block every second."""

    async def mine() -> None:
        while True:
            await asyncio.to_thread(anvil.mine)
            await asyncio.sleep(1)

    task = asyncio.create_task(mine())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_lying_l1_of_four_changes_nothing_and_a_reorganisation_is_taken_back(tmp_path: Path) -> None:
    require_cometbft()
    anvil = Anvil(tmp_path / "anvil")
    anvil.start()

    def lie(method: str, params: list[Any], result: Any) -> Any:
        if method in {"eth_getBlockByNumber", "eth_getBlockByHash"} and result:
            return {**result, "timestamp": hex(int(result["timestamp"], 16) + 3)}
        return result

    try:
        async with Proxy(anvil.url, lie) as liar, mined(anvil):
            layout, portal = await network_on(anvil, tmp_path, [anvil.url] * 3 + [liar.url])
            async with Supervisor.running(tmp_path, layout) as supervisor:
                network = Validators(supervisor)

                async def advance(origin: int) -> bool:
                    chains = await network.all_blocks()
                    return all(chain[1:] and origin_of(chain[-1])[0] >= origin for chain in chains)

                async def same_chain() -> None:
                    chains = await network.all_blocks()
                    common = min(map(len, chains))
                    assert common > 1
                    for chain in chains:
                        assert [one["hash"] for one in chain[:common]] == [one["hash"] for one in chains[0][:common]]

                await until(lambda: advance(5), "all four nodes use L1 blocks that three of them report")
                deposit = calldata(DEPOSIT, "0x" + NOBODY.hex(), 0, 100_000, False, b"")
                anvil.send(WALLET, portal, deposit)

                async def arrived() -> bool:
                    return all(deposits_in(chain) == 1 for chain in await network.all_blocks())

                await until(arrived, "the deposit is on all four nodes, the lied-to one included")
                await same_chain()

                before = (await network.blocks("node1"))[-1]
                head = int(anvil.call("eth_blockNumber"), 16)
                depth = max(5, head - origin_of(before)[0] + 2)
                anvil.call("anvil_reorg", depth, [])

                async def replaced() -> bool:
                    for chain in await network.all_blocks():
                        if not chain[1:] or origin_of(chain[-1])[0] < head + 2:
                            return False
                        for block in chain[1:]:
                            number, block_hash = origin_of(block)
                            now = await asyncio.to_thread(anvil.call, "eth_getBlockByNumber", hex(number), False)
                            if now["hash"] != "0x" + block_hash.hex():
                                return False
                    return True

                await until(replaced, "every origin of every node is on the reorganised L1")
                await same_chain()
                now = await network.blocks("node1")
                taken_back = int(before["number"], 16)
                assert now[taken_back]["hash"] != before["hash"], "the block of an L1 that is gone is another one now"
    finally:
        anvil.stop()
