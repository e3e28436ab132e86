"""Whatever Plait orders on two rollups, an unmodified op-node derives the same blocks from L1 alone."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from eth_account import Account
from examples.demo import demo
from examples.demo.chain import Chain
from examples.demo.market import Market
from running_opstack import Running, cast, running_opstack

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
    """Transfers, contracts, bundles over both rollups, messages within a slot and deposits, in both kinds of batches."""
    async with running_opstack(tmp_path / "net", "--batch", batch, "--posting", posting) as network:
        deposits = asyncio.create_task(_deposit_until_cancelled(network))
        await _demonstration(network)
        await network.heads_reach(BLOCKS_MIN, 90)
        deposits.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await deposits
        numbers = await network.require_derived(seconds=40)
        assert sum(numbers) >= 100
        for rollup in network.rollups:
            balance = int(cast("balance", RECIPIENT, "--rpc-url", rollup["verifierUrl"]))
            assert balance > 0, f"no deposit arrived on rollup {rollup['chainId']}"
        await network.require_engines_follow()
        status = await network.status()
        assert all(rollup["agree"] for rollup in status["rollups"]), status


async def _demonstration(network: Running) -> None:
    """The traffic and the stories of `make demo`: contracts, hundreds of transactions, trades over both rollups."""
    accounts = [Account.from_key(account.private_key) for account in DEVELOPMENT_ACCOUNTS[:8]]
    chains = [Chain(rollup["chainId"], rollup["plaitUrl"]) for rollup in network.rollups]
    async with Client(network.plait_url) as client:
        markets = [Market(chain, accounts) for chain in chains]
        await demo.traffic(client, markets, 0.0)
        await demo.stories(client, chains, accounts[0])


async def _deposit_until_cancelled(network: Running) -> None:
    """A deposit of one wei to every rollup, again and again."""
    sender = DEVELOPMENT_ACCOUNTS[3].address_text
    while True:
        for rollup in network.rollups:
            data = await asyncio.to_thread(
                cast, "calldata", "depositTransaction(address,uint256,uint64,bool,bytes)", RECIPIENT, "1", "100000",
                "false", "0x",
            )  # fmt: skip
            await network.l1(
                "eth_sendTransaction", {"from": sender, "to": rollup["portal"], "value": "0x1", "data": data,
                                        "gas": hex(2_000_000)},
            )  # fmt: skip
        await asyncio.sleep(3)
