"""The spread through real CometBFT: four validators in one process, each with its own CometBFT and pools."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest

from plait.codec.batch import Batch, encode_batch
from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.crypto.actions import sign_action
from plait.engines.cometbft.engine import CometEngine
from plait.limits import BATCH_BYTES_MAX
from plait.mempool import Admitted
from plait.native import recovery_statistics
from plait.node.config import AccountConfig, NodeConfig
from plait.node.node import Node
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address, Amount, Bundle, Hash32, Height, Leg, RollupId, Slot
from plait.types.action import SignedAction, Transfer

sys.path.append(str(Path(__file__).resolve().parents[1] / "abci"))
from comet_network import make_network, require_cometbft, wallets

pytestmark = [pytest.mark.cometbft, pytest.mark.timeout(420)]

ONE, OTHER = RollupId(901), RollupId(902)
USERS = wallets()


@asynccontextmanager
async def network(configs: list[NodeConfig]) -> AsyncIterator[list[Node]]:
    """All of them running."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Node.start(None, config)) for config in configs]


def transfer(user: int, nonce: int, rollup_id: int = ONE) -> bytes:
    # A recipient that no other file has: recoveries of this process are counted, and it remembers what others signed.
    return USERS[user].sign_1559(rollup_id, nonce, to=b"\xc5" * 20, value=1, max_fee_per_gas=10**11)


def submit(node: Node, rollup_id: int, *raws: bytes) -> list[Hash32]:
    results = node.pool.submit(RollupId(rollup_id), raws, node.clock.now_ms())
    assert all(isinstance(result, Admitted) for result in results), results
    return [Hash32(result.hash) for result in results if isinstance(result, Admitted)]


async def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  (nothing tells of every pool)
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {seconds} s: {what}")


def is_decided(node: Node, hash_: Hash32, rollup_id: int = ONE) -> bool:
    return node.rollups[RollupId(rollup_id)].native.transaction_location(hash_) is not None


async def waiting_batches(node: Node) -> int:
    assert node.comet is not None
    return int((await node.comet.unconfirmed())["total"])


async def test_what_one_node_takes_is_proposed_by_whoever_leads_and_leaves_the_common_pool(tmp_path: Path) -> None:
    require_cometbft()
    async with network(make_network(tmp_path, 4)) as nodes:
        await until(lambda: all(node.info().height >= 2 for node in nodes), "every node decides")
        before = recovery_statistics()["recovered"]
        hashes: list[tuple[int, Hash32]] = []
        for nonce in range(12):
            for user in range(4):
                for rollup_id in (ONE, OTHER):
                    hashes += [(rollup_id, h) for h in submit(nodes[0], rollup_id, transfer(user, nonce, rollup_id))]
            height = nodes[0].info().height
            await until(lambda height=height: nodes[0].info().height > height, "the next height")  # type: ignore[misc]
        for node in nodes:
            await until(lambda node=node: all(is_decided(node, h, i) for i, h in hashes), "all are decided")  # type: ignore[misc]
        assert recovery_statistics()["recovered"] - before == len(hashes), "once per process, whatever decodes it"
        proposers = {record.agreed.proposer for record in nodes[1].log.iterate() if len(record.senders) > 0}
        assert len(proposers) >= 3, "others propose what the first node took"
        height = nodes[0].info().height
        await until(lambda: all(node.info().height > height + 1 for node in nodes), "two more heights")
        assert [await waiting_batches(node) for node in nodes] == [0, 0, 0, 0]
        for node in nodes:
            assert node.pool.count == 0
            assert node.spreader is not None
            statistics = node.spreader.statistics()
            assert statistics["batches_held"] == 0
            assert statistics["send_failures"] == 0
            assert statistics["entries_refused"] == 0


async def test_what_was_acknowledged_and_spread_outlives_its_first_node(tmp_path: Path) -> None:
    """Nonce 1 waits behind a gap in all pools when its first node dies; nonce 0 then comes to another node."""
    require_cometbft()
    configs = make_network(tmp_path, 4)
    async with network(configs[1:]) as nodes:
        async with network(configs[:1]) as (first,):
            await until(lambda: all(node.info().height >= 2 for node in [*nodes, first]), "every node decides")
            (later,) = submit(first, ONE, transfer(0, 1))
            await until(lambda: all(node.pool.get(ONE, later) for node in nodes), "every pool has it")
        height = nodes[0].info().height
        await until(lambda: nodes[0].info().height > height, "three go on")
        assert not is_decided(nodes[0], later)
        (sooner,) = submit(nodes[2], ONE, transfer(0, 0))
        for node in nodes:
            await until(lambda node=node: is_decided(node, later) and is_decided(node, sooner), "both are decided")  # type: ignore[misc]


async def test_a_bundle_of_one_node_is_decided_and_every_pool_knew_it(tmp_path: Path) -> None:
    require_cometbft()
    async with network(make_network(tmp_path, 4)) as nodes:
        await until(
            lambda: all(r.native.open_block is not None for node in nodes for r in node.rollups.values()), "open blocks"
        )

        def bundle(user: int, nonce: int) -> Bundle:
            legs = tuple(Leg(rollup_id=i, transactions=(transfer(user, nonce, i),)) for i in (ONE, OTHER))
            return Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(nodes[0].info().slot + 30))

        pool = nodes[3].bundles
        found = pool.admit(pool.decode(bundle(5, 0)), nodes[3].clock.now_ms(), nodes[3].info().slot)

        def settled(node: Node) -> bool:
            status = node.bundles.status(found)
            return status is not None and status.status in {"decided", "sealed"}

        for node in nodes:
            await until(lambda node=node: settled(node), "the bundle is decided, and every pool knew it")  # type: ignore[misc]
        height = nodes[0].info().height
        await until(lambda: nodes[0].info().height > height + 1, "two more heights")
        assert [await waiting_batches(node) for node in nodes] == [0, 0, 0, 0]


async def test_a_ledger_action_waits_in_every_pool_and_is_decided(tmp_path: Path) -> None:
    require_cometbft()
    key, address = DEVELOPMENT_ACCOUNTS[3].private_key, DEVELOPMENT_ACCOUNTS[3].address
    account = AccountConfig(address="0x" + address.hex(), balance=10**21)
    configs = make_network(tmp_path, 4, change=lambda found: msgspec.structs.replace(found, accounts=(account,)))
    async with network(configs) as nodes:
        await until(lambda: all(node.info().height >= 2 for node in nodes), "every node decides")

        def act(node: Node, nonce: int) -> bytes:
            body = Transfer(to=Address(bytes(19) + b"\x05"), amount=Amount(7))
            raw = sign_action(node.parameters.network_id, nonce, Amount(10**18), body, key)
            (result,) = node.actions.admit([raw], node.clock.now_ms())
            assert isinstance(result, SignedAction), result
            return result.hash

        later = act(nodes[0], 1)
        await until(lambda: all(node.actions.waits(later) for node in nodes), "every pool has it")
        act(nodes[2], 0)
        for node in nodes:
            await until(lambda node=node: node.economy.accounts.get(address).nonce == 2, "both are decided")  # type: ignore[misc]
        height = nodes[0].info().height
        await until(lambda: nodes[0].info().height > height + 1, "two more heights")
        assert [await waiting_batches(node) for node in nodes] == [0, 0, 0, 0]


def worthless(source: Random, count: int) -> tuple[bytes, ...]:
    """Canonical transactions with random signatures: about half of them recover, to accounts that hold nothing."""
    fields = [encode_uint(ONE), b"\x80", b"\x01", encode_uint(10**11), encode_uint(21_000), encode_bytes(bytes(20))]
    found = []
    for _ in range(count):
        value, parity = encode_uint(source.randrange(1, 10**9)), encode_uint(source.randrange(2))
        r, s = (encode_uint(source.randrange(2**254, 2**255 - 2**200)) for _ in range(2))
        found.append(b"\x02" + encode_list([*fields, value, b"\x80", b"\xc0", parity, r, s]))
    return tuple(found)


async def test_a_peer_that_floods_costs_little_and_delays_nobody(tmp_path: Path) -> None:
    """Node 3 passes everything on, whatever it is; its peers look at a few entries of each batch."""
    require_cometbft()
    source = Random(20_261_121)
    async with network(make_network(tmp_path, 4)) as nodes:
        await until(lambda: all(node.info().height >= 2 for node in nodes), "every node decides")
        rogue, honest = nodes[3], nodes[:3]

        async def passes_on(tx: bytes, recheck: bool) -> tuple[int, str]:
            return int(recheck), ""

        assert isinstance(rogue.engine, CometEngine)
        rogue.engine.intake = type("PassesOn", (), {"check": staticmethod(passes_on)})()
        assert rogue.comet is not None
        before, started, height = recovery_statistics()["recovered"], time.monotonic(), honest[0].info().height
        count = 0
        hashes: list[Hash32] = []
        for number in range(200):
            junk = ((ONE, worthless(source, 150)),)
            await rogue.comet.broadcast_tx_async(encode_batch(Batch(height=Height(number), transactions=junk)))
            count += 150
            if number % 20 == 0:
                hashes += submit(honest[0], ONE, transfer(1, number // 20))
        for node in honest:
            await until(lambda node=node: all(is_decided(node, h) for h in hashes), "honest ones are decided")  # type: ignore[misc]
        seconds = time.monotonic() - started
        heights = honest[0].info().height - height
        assert heights >= 5, f"{heights} heights in {seconds:.1f} s"
        for node in honest:
            assert node.spreader is not None
            statistics = node.spreader.statistics()
            assert statistics["checked_refused"] >= 100, "the flood came through"
            assert statistics["entries_refused"] < count / 3
            # The core has a decided transaction a moment before the pool lets go of it.
            await until(lambda node=node: node.pool.count == 0, "nothing of the flood stays")  # type: ignore[misc]
        recovered = recovery_statistics()["recovered"] - before
        print(f"{count} worthless entries: {recovered} recoveries on 3 nodes in {seconds:.1f} s, {heights} heights")
        assert recovered < count / 3


async def test_garbage_in_the_common_pool_is_refused_with_a_code_and_the_node_goes_on(tmp_path: Path) -> None:
    require_cometbft()
    async with network(make_network(tmp_path, 1)) as (node,):
        await until(lambda: node.info().height >= 2, "it decides")
        assert node.comet is not None
        unfunded = encode_batch(Batch(height=Height(1), transactions=((RollupId(77), (transfer(0, 0),)),)))
        for data, code in [
            (b"garbage", "codec_invalid"),
            (bytes(BATCH_BYTES_MAX + 1), "batch_too_large"),
            (unfunded, "rollup_unknown"),
        ]:
            answer = await node.comet.broadcast_tx_sync(data)
            assert int(answer["code"]) != 0
            assert answer["log"].startswith(code + ": ")
        assert await waiting_batches(node) == 0
        height = node.info().height
        await until(lambda: node.info().height > height + 2, "it goes on")
