"""The flashblocks stream of a real node: what followers see is the block growing, exactly, until it is sealed."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from plait.limits import FLASHBLOCKS_QUEUE_MAX
from plait.native import Rollup
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.node import Node
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.opstack.faces.flashblock import Flashblock, decode_flashblock
from plait.rollups.opstack.faces.flashblock_stream import FlashblockStream, _Follower
from plait.rollups.opstack.faces.settings import FlashblocksSettings
from sim.wallet import Wallet

WALLETS = [Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS]
FAILURES: list[tuple[str, dict[str, Any]]] = []


@contextlib.asynccontextmanager
async def streaming(fork: str = "jovian", subscribers_max: int = 4) -> AsyncIterator[tuple[Node, FlashblockStream]]:
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 3,
        sub_blocks_per_slot=5,
        rollups=(RollupConfig(chain_id=901, fork=fork), RollupConfig(chain_id=902)),  # type: ignore[arg-type]
    )
    FAILURES.clear()
    async with Node.start(network, NodeConfig(log_level="error")) as node:
        settings = FlashblocksSettings(port=0, subscribers_max=subscribers_max)
        stream = FlashblockStream(node, settings, lambda event, **fields: FAILURES.append((event, fields)))
        ready = asyncio.Event()
        task = asyncio.ensure_future(stream.run(ready))
        await ready.wait()
        try:
            yield node, stream
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    assert FAILURES == []
    assert stream.statistics()["differences"] == 0


async def sending(node: Node, stop: asyncio.Event, per_burst: int = 4) -> None:
    """Transfers of two users on 901 until told to stop; they pay more than anybody needs."""
    nonces = [0, 0]
    while not stop.is_set():
        for user in (0, 1):
            raws = [
                WALLETS[user].sign_1559(901, nonces[user] + n, to=bytes([7]) * 20, value=5, max_fee_per_gas=10**11)
                for n in range(per_burst)
            ]
            node.pool.submit(901, raws, node.clock.now_ms())  # type: ignore[arg-type]
            nonces[user] += per_burst
        await asyncio.sleep(0.1)


async def collect(url: str, until: Callable[[list[Flashblock]], bool]) -> list[Flashblock]:
    seen: list[Flashblock] = []
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket, asyncio.timeout(30):
        async for message in socket:
            raw = json.loads(message.data)
            assert ("base" in raw) == (raw["index"] == 0)
            seen.append(decode_flashblock(message.data.encode()))
            if until(seen):
                return seen
    raise AssertionError("the stream ended")


def by_block(seen: list[Flashblock]) -> dict[int, list[Flashblock]]:
    blocks: dict[int, list[Flashblock]] = {}
    for flashblock in seen:
        blocks.setdefault(flashblock.metadata.block_number, []).append(flashblock)
    return blocks


@pytest.mark.parametrize("fork", ["jovian", "isthmus", "holocene"])
async def test_flashblocks_add_up_to_the_sealed_block(fork: str) -> None:
    async with streaming(fork) as (node, stream):
        stop = asyncio.Event()
        sender = asyncio.ensure_future(sending(node, stop))
        seen = await collect(f"{stream.url}/901", has_enough)
        stop.set()
        await sender
        native = node.rollups[901].native  # type: ignore[index]
        blocks = by_block(seen)
        whole = list(blocks)[:-1]
        assert len(whole) >= 3
        for number in whole:
            check_block(blocks[number], native, number, has_blob_gas=fork == "jovian")


def has_enough(so_far: list[Flashblock]) -> bool:
    """Three whole blocks, one of which grew in several steps; the first ones after a start are empty."""
    whole = list(by_block(so_far).values())[:-1]
    return len(whole) >= 3 and any(len(block) > 2 for block in whole)


def check_block(flashblocks: list[Flashblock], native: Rollup, number: int, *, has_blob_gas: bool) -> None:
    sealed = json.loads(native.block_json(number, True))  # type: ignore[arg-type]
    assert [flashblock.index for flashblock in flashblocks] == list(range(len(flashblocks)))
    assert len({flashblock.payload_id for flashblock in flashblocks}) == 1
    first, last = flashblocks[0], flashblocks[-1]
    assert first.base is not None
    assert all(raw.startswith("0x7e") for raw in first.diff.transactions), "index 0 is for system transactions"
    base = first.base
    assert (base.parent_hash, base.block_number, base.timestamp) == (
        sealed["parentHash"],
        sealed["number"],
        sealed["timestamp"],
    )
    assert (base.prev_randao, base.fee_recipient) == (sealed["mixHash"], sealed["miner"])
    assert (base.extra_data, base.gas_limit) == (sealed["extraData"], sealed["gasLimit"])
    assert (base.base_fee_per_gas, base.parent_beacon_block_root) == (
        sealed["baseFeePerGas"],
        sealed["parentBeaconBlockRoot"],
    )
    raws = [raw for flashblock in flashblocks for raw in flashblock.diff.transactions]
    decided = [
        "0x" + (native.raw_transaction(bytes.fromhex(t["hash"][2:])) or b"").hex() for t in sealed["transactions"]
    ]
    assert raws == decided, "each transaction once, in the block's order"
    gas = [int(flashblock.diff.gas_used, 16) for flashblock in flashblocks]
    assert gas == sorted(gas)
    assert (last.diff.block_hash, last.diff.state_root) == (sealed["hash"], sealed["stateRoot"])
    assert (last.diff.receipts_root, last.diff.logs_bloom) == (sealed["receiptsRoot"], sealed["logsBloom"])
    assert (last.diff.gas_used, last.diff.withdrawals_root) == (
        sealed["gasUsed"],
        sealed.get("withdrawalsRoot", last.diff.withdrawals_root),
    )
    assert last.diff.blob_gas_used == (sealed["blobGasUsed"] if has_blob_gas else None)
    receipts = {hash_: receipt for flashblock in flashblocks for hash_, receipt in flashblock.metadata.receipts.items()}
    for want in json.loads(native.block_receipts_json(number)):  # type: ignore[arg-type]
        got = receipts[want["transactionHash"]]
        assert (got.type, got.status, got.cumulative_gas_used) == (
            want["type"],
            want["status"],
            want["cumulativeGasUsed"],
        )
        assert got.deposit_nonce == want.get("depositNonce")
        assert got.deposit_receipt_version == want.get("depositReceiptVersion")
        assert [log.address for log in got.logs] == [log["address"] for log in want["logs"]]
    for address, balance in last.metadata.new_account_balances.items():
        found = native.accounts([bytes.fromhex(address[2:])], number)[0][1]
        assert found == int(balance, 16)


async def test_a_follower_that_comes_in_the_middle_of_a_block_gets_it_from_its_beginning() -> None:
    async with streaming() as (node, stream):
        stop = asyncio.Event()
        sender = asyncio.ensure_future(sending(node, stop))
        first = asyncio.ensure_future(collect(f"{stream.url}/901", lambda so_far: len(by_block(so_far)) > 3))
        await asyncio.sleep(0.7)
        for _ in range(3):
            late = await collect(f"{stream.url}/901", lambda so_far: len(so_far) > 1)
            assert [flashblock.index for flashblock in late[:2]] in ([0, 1], [0, 0])
            await asyncio.sleep(0.27)
        await first
        stop.set()
        await sender


async def test_all_followers_and_the_next_start_of_the_stream_see_the_same_bytes() -> None:
    async with streaming() as (node, stream):
        stop = asyncio.Event()
        sender = asyncio.ensure_future(sending(node, stop))
        one, other = await asyncio.gather(
            *(collect(f"{stream.url}/901", lambda so_far: len(by_block(so_far)) > 2) for _ in range(2))
        )
        stop.set()
        await sender
        common = set(by_block(one)) & set(by_block(other))
        numbers = sorted(common)[:2]
        assert numbers
        for number in numbers:
            short = min(len(by_block(one)[number]), len(by_block(other)[number]))
            assert by_block(one)[number][:short] == by_block(other)[number][:short]


async def test_too_many_followers_and_wrong_paths_are_turned_away_with_a_reason() -> None:
    async with streaming(subscribers_max=1) as (_node, stream), aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{stream.url}/901"), session.ws_connect(f"{stream.url}/902") as refused:
            message = await refused.receive(5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1013)
        base = stream.url.replace("ws", "http", 1)
        async with session.get(f"{base}/903") as answer:
            assert (answer.status, "/901, /902" in await answer.text()) == (404, True)
        async with session.get(f"{base}/901") as answer:
            assert answer.status == 426
        async with session.get(f"{base}/901", headers={"Origin": "https://page.example"}) as answer:
            assert answer.status == 403


def test_a_follower_that_does_not_read_ends_at_the_bound_and_holds_nothing() -> None:
    follower = _Follower(None)  # type: ignore[arg-type]  # nothing is sent
    assert all(follower.offer(b"message") for _ in range(FLASHBLOCKS_QUEUE_MAX))
    assert not follower.offer(b"one more")
    assert follower.reason.startswith(b"slow client")
    assert not follower._queue
