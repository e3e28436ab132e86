"""A node whose L1 lies, lags, is another chain or is gone: it says so, and every rollup goes on; then it catches up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anvil_l1 import NOBODY, WALLET, Anvil, calldata
from tampering import Proxy

from plait.derivation.l1_info import decode_l1_attributes
from plait.l1.client import L1Client
from plait.node.config import L1Connection, NetworkConfig, NodeConfig, RollupConfig, decode_network
from plait.node.node import Node
from plait.rollups.batcher.blocks import raw_transactions
from plait.storage import NETWORK_FILE
from plait.testnet.opstack.founding import Founding, found
from plait.types import RollupId

pytestmark = [pytest.mark.node_js, pytest.mark.slow]

ON_L1, EMBEDDED = RollupId(901), RollupId(977)


class World:
    """One rollup that derives from L1 and one that does not, on a node that reads L1 through a proxy."""

    def __init__(self, node: Node, anvil: Anvil, proxy: Proxy, portal: str) -> None:
        self.node = node
        self.anvil = anvil
        self.proxy = proxy
        self.portal = portal

    @property
    def l1_code(self) -> str:
        settling = self.node.settling
        assert settling is not None
        return str(settling.status()["l1"]["code"])

    def head(self, rollup_id: RollupId) -> int:
        return self.node.rollups[rollup_id].native.head.number

    def origin(self) -> int:
        """L1 origin of the newest block of the rollup on L1."""
        native = self.node.rollups[ON_L1].native
        raw = native.raw_block(native.head.number)
        assert raw is not None
        transactions = raw_transactions(raw)
        return decode_l1_attributes(transactions[0]).number if transactions else 0

    def has_deposit(self) -> bool:
        """Whether some block of the rollup holds a user's deposit."""
        native = self.node.rollups[ON_L1].native
        for number in range(1, native.head.number + 1):
            raw = native.raw_block(number)
            assert raw is not None
            if sum(one[0] == 0x7E for one in raw_transactions(raw)) > 1:
                return True
        return False

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 40) -> None:
        for _ in range(int(seconds * 10)):
            if condition():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {what}; L1: {self.node.settling.status()['l1']}")


@contextlib.asynccontextmanager
async def world(anvil: Anvil, directory: Path) -> AsyncIterator[World]:
    async def mine() -> None:
        while True:
            await asyncio.to_thread(anvil.mine)
            await asyncio.sleep(1)

    mining = asyncio.create_task(mine())
    try:
        async with Proxy(anvil.url) as proxy, L1Client(anvil.url) as l1:
            layout = await found(directory, Founding(rollups=1, l1_block_time_s=1), l1)
            network: NetworkConfig = decode_network((directory / NETWORK_FILE).read_bytes(), NETWORK_FILE)
            embedded = RollupConfig(chain_id=int(EMBEDDED))
            network = msgspec.structs.replace(network, rollups=(*network.rollups, embedded))
            config = NodeConfig(
                data_dir=directory / "node",
                l1=L1Connection(rpc_url=proxy.url, reporter_key=directory / "reporter.key"),
            )
            async with Node.start(network, config) as node:
                yield World(node, anvil, proxy, layout.rollups[0].portal)
    finally:
        mining.cancel()
        await asyncio.gather(mining, return_exceptions=True)


def lie(method: str, params: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber" and result:
        return {**result, "timestamp": hex(int(result["timestamp"], 16) + 7)}
    return result


async def test_trouble_with_l1_is_named_stops_nothing_and_is_made_up_for(anvil: Anvil, tmp_path: Path) -> None:
    async with world(anvil, tmp_path) as made:
        await made.until(lambda: made.origin() >= 5, "origins advance")

        async def go_on(code: str) -> None:
            await made.until(lambda: made.l1_code == code, f"the trouble is named {code}")
            before, other = made.head(ON_L1), made.head(EMBEDDED)
            await made.until(lambda: made.head(EMBEDDED) >= other + 2, "the embedded rollup goes on")
            await made.until(lambda: made.head(ON_L1) >= before + 2, "the rollup on L1 goes on with its last origin")

        async def recover() -> None:
            target = anvil.mine()
            await made.until(lambda: made.l1_code == "", "the trouble has ended")
            await made.until(lambda: made.origin() >= target, "origins catch up")

        made.proxy.change = lie
        await go_on("l1_block_malformed")
        made.proxy.change = lambda method, params, result: result
        await recover()

        made.proxy.down = True
        await go_on("l1_unreachable")
        made.proxy.down = False
        made.proxy.change = lambda method, params, result: "0x1" if method == "eth_chainId" else result
        await go_on("l1_chain_mismatch")
        anvil.send(WALLET, made.portal, calldata(
            "depositTransaction(address,uint256,uint64,bool,bytes)", "0x" + NOBODY.hex(), 0, 100_000, False, b""
        ))  # fmt: skip
        made.proxy.change = lambda method, params, result: result
        await recover()
        await made.until(made.has_deposit, "a deposit made in the meantime arrives")
        assert made.node.settling.failures == {}, "no service failed"
