"""The load of the demonstration: several hundred transactions to both rollups, each followed until it is sealed."""

import asyncio
import time
from typing import Any

import msgspec
from web3 import Web3

from examples.demo.market import Market
from examples.demo.show import DemoFailure, require
from plait.client import Client, RpcError

BATCHES = 20
BATCH_EVERY_S = 0.2


class Sent(msgspec.Struct):
    """A transaction on its way; times are monotonic seconds."""

    sent_at: float
    decided_at: float = 0.0
    sealed_at: float = 0.0


class Follower:
    """Follows decided sub-blocks and notes when each of our transactions was decided and sealed."""

    def __init__(self, sent: dict[str, Sent]) -> None:
        self.sent = sent
        self.sub_blocks: list[dict[str, Any]] = []
        self.blocks: dict[int, dict[int, str]] = {}
        self.complete = asyncio.Event()
        """Set when everything has been sent."""
        self._open: dict[int, list[Sent]] = {}

    async def follow(self, client: Client, started: asyncio.Event) -> None:
        """Runs until every sent transaction's block is sealed."""
        async for sub_block in client.subscribe("plait_subscribe", "subBlocks"):
            now = time.monotonic()
            started.set()
            self.sub_blocks.append(sub_block)
            for part in sub_block["rollups"]:
                rollup_id = part["rollupId"]
                if part["sealed"]:
                    self.blocks.setdefault(rollup_id, {}).update({one["number"]: one["hash"] for one in part["sealed"]})
                    for one in self._open.pop(rollup_id, []):
                        one.sealed_at = now
                mine = [self.sent[hash_] for hash_ in part["transactions"] if hash_ in self.sent]
                for one in mine:
                    one.decided_at = now
                self._open.setdefault(rollup_id, []).extend(mine)
            if self.sent and all(one.sealed_at for one in self.sent.values()) and self.complete.is_set():
                return


async def send_and_follow(client: Client, markets: list[Market]) -> Follower:
    """Sends every signed transaction in batches at a steady pace and waits until all are sealed."""
    sent: dict[str, Sent] = {}
    follower = Follower(sent)
    started = asyncio.Event()

    async def send(market: Market) -> None:
        rollup = client.at(str(market.chain_id))
        size = -(-len(market.signed) // BATCHES)
        for at in range(0, len(market.signed), size):
            batch = market.signed[at : at + size]
            hashes = [Web3.to_hex(Web3.keccak(raw)) for raw in batch]
            now = time.monotonic()
            sent.update({hash_: Sent(now) for hash_ in hashes})
            answers = await rollup.batch([("eth_sendRawTransaction", (Web3.to_hex(raw),)) for raw in batch])
            for answer in answers:
                if isinstance(answer, RpcError):
                    raise DemoFailure(f"Rollup {market.chain_id} refused a transaction: {answer.message}")
            await asyncio.sleep(max(0.0, now + BATCH_EVERY_S - time.monotonic()))

    async with asyncio.timeout(40):
        following = asyncio.create_task(follower.follow(client, started))
        await started.wait()
        await asyncio.gather(*(send(market) for market in markets))
        follower.complete.set()
        await following
    return follower


async def check_receipts(client: Client, markets: list[Market], follower: Follower) -> None:
    """Every receipt says success and names a block that a sub-block sealed with the same hash."""
    for market in markets:
        hashes = [Web3.to_hex(Web3.keccak(raw)) for raw in market.signed]
        receipts = await client.at(str(market.chain_id)).batch(
            [("eth_getTransactionReceipt", (one,)) for one in hashes]
        )
        for hash_, receipt in zip(hashes, receipts, strict=True):
            if not isinstance(receipt, dict):
                raise DemoFailure(f"Rollup {market.chain_id} has no receipt of {hash_}.")
            require(receipt["status"] == "0x1", f"Transaction {hash_} on rollup {market.chain_id} was reverted.")
            sealed = follower.blocks[market.chain_id].get(int(receipt["blockNumber"], 16))
            require(sealed == receipt["blockHash"], f"The receipt of {hash_} names another block than was sealed.")


def report(markets: list[Market], follower: Follower) -> None:
    """What was ordered, decided and sealed."""
    busy = [one for one in follower.sub_blocks if any(part["transactions"] for part in one["rollups"])]
    slots = sorted({one["slot"] for one in busy})
    print(
        f"Ordered in {len(busy)} sub-blocks of {len(slots)} slots (heights {busy[0]['height']} to "
        f"{busy[-1]['height']}, slots {slots[0]} to {slots[-1]})\napp hash {follower.sub_blocks[-1]['appHash']}"
    )
    print("\nrollup  transactions   decided p50   p95      sealed p50   p95      blocks")
    for market in markets:
        mine = [follower.sent[Web3.to_hex(Web3.keccak(raw))] for raw in market.signed]
        decided = sorted(1_000 * (one.decided_at - one.sent_at) for one in mine)
        sealed = sorted(1_000 * (one.sealed_at - one.sent_at) for one in mine)
        numbers = follower.blocks[market.chain_id]
        print(f"{market.chain_id:<7} {len(mine):<14} {at(decided, 50):>6.0f} ms {at(decided, 95):>7.0f} ms "
              f"{at(sealed, 50):>10.0f} ms {at(sealed, 95):>7.0f} ms   {min(numbers)} to {max(numbers)}")  # fmt: skip
    print()
    for market in markets:
        numbers = follower.blocks[market.chain_id]
        for number in sorted(numbers)[-2:]:
            print(f"rollup {market.chain_id} block {number}  {numbers[number]}")


def at(values: list[float], percent: int) -> float:
    """A percentile of sorted values."""
    return values[min(len(values) * percent // 100, len(values) - 1)]
