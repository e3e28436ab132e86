"""Several nodes of one network in one process, each with its own CometBFT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from comet_network import CHAINS, wallets

from plait.engines.cometbft.engine import CometEngine
from plait.node.config import NodeConfig
from plait.node.node import Node
from plait.types import Height, RollupId


@asynccontextmanager
async def network(configs: list[NodeConfig]) -> AsyncIterator[list[Node]]:
    """All of them running."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Node.start(None, config)) for config in configs]


def engine_of(node: Node) -> CometEngine:
    assert isinstance(node.engine, CometEngine)
    return node.engine


async def until_height(nodes: list[Node], height: int, seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        for node in nodes:
            subscription = node.bus.subscribe()
            while node.info().height < height:
                await anext(subscription)
            subscription.close()


def submit(node: Node, count: int, start: int = 0) -> set[bytes]:
    """Transactions of every account on every rollup into one node's pool; their hashes."""
    hashes = set()
    for chain_id in CHAINS:
        for wallet in wallets():
            raws = [
                wallet.sign_1559(chain_id, start + at, to=b"\x07" * 20, value=1, max_fee_per_gas=10**11)
                for at in range(count)
            ]
            for admitted in node.pool.submit(RollupId(chain_id), raws, node.clock.now_ms()):
                assert isinstance(getattr(admitted, "hash", None), bytes), admitted
                hashes.add(admitted.hash)
    return hashes


def equal(nodes: list[Node]) -> None:
    """Every height that all have is the same on all."""
    height = min(node.info().height for node in nodes)
    for at in range(1, height + 1):
        records = [node.log.read(Height(at)) for node in nodes]
        assert len({None if record is None else msgspec.msgpack.encode(record) for record in records}) == 1, at
