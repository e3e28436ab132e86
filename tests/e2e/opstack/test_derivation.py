"""Whatever Plait orders on two rollups, an unmodified op-node derives the same blocks from L1 alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from eth_account import Account
from rebuilt import rebuilt
from running_opstack import Running, cast, running_opstack

from examples.demo import demo
from examples.demo.chain import Chain
from examples.demo.market import Market
from plait.client import Client
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS

pytestmark = [pytest.mark.slow, pytest.mark.opgeth, pytest.mark.node_js]
BLOCKS_MIN = 52
"""Of each rollup, so that both have more than a hundred together."""
RECIPIENT = "0x00000000000000000000000000000000000000d0"


@pytest.mark.parametrize(("batch", "posting"), [("span", "calldata"), ("singular", "blob")])
async def test_everything_that_plait_orders_is_derived_with_equal_hashes(
    tmp_path: Path, batch: str, posting: str
) -> None:
    """Transfers, contracts, bundles over both rollups, messages within a slot and deposits, in both kinds of batch."""
    async with running_opstack(tmp_path / "net", "--batch", batch, "--posting", posting) as network:
        accounts = [Account.from_key(account.private_key) for account in DEVELOPMENT_ACCOUNTS[:8]]
        chains = [Chain(rollup["chainId"], rollup["plaitUrl"]) for rollup in network.rollups]
        async with Client(network.plait_url) as client:
            async with _deposits(network):
                await demo.traffic(client, [Market(chain, accounts) for chain in chains], 0.0)
            await asyncio.sleep(4)  # the stories look for traces: nobody else may be in their blocks
            await demo.stories(client, chains, accounts[0])
        async with _deposits(network):
            await network.heads_reach(BLOCKS_MIN, 90)
        numbers = await network.require_derived(seconds=40)
        assert sum(numbers) >= 100
        for rollup in network.rollups:
            balance = int(cast("balance", RECIPIENT, "--rpc-url", rollup["verifierUrl"]))
            assert balance > 0, f"no deposit arrived on rollup {rollup['chainId']}"
            found = await rebuilt(
                tmp_path / "net" / str(rollup["chainId"]), network.l1_url, network.beacon_url, rollup["plaitUrl"]
            )
            assert found["blocks"] >= BLOCKS_MIN, found
            assert not found["replaced"], found
        await network.require_engines_follow()
        status = await network.status()
        assert all(rollup["agree"] for rollup in status["rollups"]), status


@contextlib.asynccontextmanager
async def _deposits(network: Running) -> AsyncIterator[None]:
    """A deposit of one wei to every rollup, again and again, within the block."""
    task = asyncio.create_task(_deposit(network))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _deposit(network: Running) -> None:
    sender = DEVELOPMENT_ACCOUNTS[8].address_text  # a deposit takes a nonce of its sender on the rollup too
    data = await asyncio.to_thread(
        cast, "calldata", "depositTransaction(address,uint256,uint64,bool,bytes)", RECIPIENT, "1", "100000", "false",
        "0x",
    )  # fmt: skip
    while True:
        for rollup in network.rollups:
            call = {"from": sender, "to": rollup["portal"], "value": "0x1", "data": data, "gas": hex(2_000_000)}
            await network.l1("eth_sendTransaction", call)
        await asyncio.sleep(2)
