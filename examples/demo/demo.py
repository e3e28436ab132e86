"""The demonstration, from start to end: two rollups on one sequencer, their ordinary traffic, and trades over both.

    make demo        (or: .venv/bin/python -m examples.demo.demo)

It starts `plait devnet` as a process of its own with a temporary data directory, deploys contracts on both rollups with
web3.py, sends several hundred pre-signed transactions and follows each until its block is sealed. Then it tells the
stories: a trade on two rollups that happens, and its twin that fails, of which no trace may remain. In the end it stops
the node and replays its log. Exits 0 when all of it holds, 1 with a sentence when something does not.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from examples.demo.chain import Chain
from examples.demo.market import Market
from examples.demo.network import start_node, stop_node, verify_log
from examples.demo.show import DemoFailure, require, title
from examples.demo.stories import arbitrage, risk_reversal, round_trip
from examples.demo.stories.stage import ANA, BEA, CAI, Purse, build
from examples.demo.traffic import check_receipts, report, send_and_follow
from plait.client import Client


async def run(data_dir: Path) -> None:
    """The whole demonstration."""
    began = time.monotonic()
    node, ready = await start_node(data_dir)
    try:
        print(
            f"Started {len(ready['rollups'])} rollups on one sequencer: slots of {ready['slotMs']} ms, "
            f"a sub-block every {ready['slotMs'] // ready['subBlocksPerSlot']} ms ({time.monotonic() - began:.1f} s)"
        )
        accounts = [Account.from_key(one["privateKey"]) for one in ready["accounts"]]
        chains = [Chain(rollup["chainId"], rollup["url"]) for rollup in ready["rollups"]]
        async with Client(ready["url"]) as client:
            markets = [Market(chain, accounts) for chain in chains]
            await traffic(client, markets, began)
            await stories(client, chains, accounts[0])
    finally:
        code = await stop_node(node)
    title("The end")
    require(code == 0, f"The node ended with exit code {code} instead of stopping cleanly.")
    await verify_log(data_dir)
    print(f"All of it holds. {time.monotonic() - began:.1f} s in all.")


async def traffic(client: Client, markets: list[Market], began: float) -> None:
    """Several hundred ordinary transactions to both rollups, and the account of them."""
    await asyncio.gather(*(asyncio.to_thread(market.deploy) for market in markets))
    for market in markets:
        print(f"  rollup {market.chain_id}  token     {market.token.address}")
        print(f"              exchange  {market.exchange.address}")
    for market in markets:
        await asyncio.to_thread(market.sign_load)
    count = sum(len(market.signed) for market in markets)
    print(f"Contracts deployed and {count} transactions signed ({time.monotonic() - began:.1f} s)")
    title("Ordinary traffic on both rollups")
    follower = await send_and_follow(client, markets)
    await check_receipts(client, markets, follower)
    await asyncio.gather(*(asyncio.to_thread(market.read_back) for market in markets))
    report(markets, follower)


async def stories(client: Client, chains: list[Chain], owner: LocalAccount) -> None:
    """Every story with its failing twin, in an order in which each finds what it needs."""
    one, two = await asyncio.gather(*(asyncio.to_thread(build, *part) for part in parts(chains, owner)))
    await arbitrage.play(client, one, two)
    await arbitrage.play_twin(client, one, two)
    await risk_reversal.play(client, one, two)
    await risk_reversal.play_twin(client, one, two)
    journey = await asyncio.to_thread(round_trip.prepare, one, two, owner)
    await round_trip.play(client, journey)
    await round_trip.play_twin(client, journey)


def parts(chains: list[Chain], owner: LocalAccount) -> list[tuple[Any, ...]]:
    """What the stage of each rollup is built of: its chain, who pays, the price of gold, and what people have."""
    at_home = [Purse(ANA, 1, dollars=50_000), Purse(BEA, 1, dollars=1_000), Purse(CAI, 1, gold=8)]
    return [
        (chains[0], owner, 2_000, at_home),
        (chains[1], owner, 2_100, [Purse(ANA, ether=1, gold=50), Purse(BEA, ether=1, dollars=18_000)]),
    ]


def main() -> int:
    """Runs the demonstration; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="plait-demo-") as directory:
        try:
            asyncio.run(run(Path(directory)))
        except DemoFailure as failure:
            print(f"The demonstration failed: {failure}", file=sys.stderr)
        except Exception as error:
            print(f"The demonstration failed: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
