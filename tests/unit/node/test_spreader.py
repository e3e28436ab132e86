"""The sender of batches: the first entry goes at once, the next together; what CometBFT does not take goes later, in
order, and nothing is lost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from plait.codec.batch import decode_batch
from plait.engines.cometbft.rpc_client import CometRpc, CometRpcError
from plait.errors import Unavailable
from plait.limits import SPREAD_COLLECT_S
from plait.mempool import spread as spread_module
from plait.node import spread as module
from plait.node.spread import Pools, Spreader, send_through
from plait.types import RollupId
from sim.pooling import USERS, transfer
from sim.spreading import Exchange

ONE = RollupId(901)


class Taken:
    """What a CometBFT was handed, and when; it refuses as often as it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        self.batches: list[list[bytes]] = []
        self.times_s: list[float] = []
        self.refusals = refusals

    async def send(self, data: bytes) -> None:
        await asyncio.sleep(0)
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("mempool is full")
        self.batches.append([raw for _, raws in decode_batch(data).transactions for raw in raws])
        self.times_s.append(time.monotonic())


def played(taken: Taken, work: Callable[[Exchange], Awaitable[None]]) -> Spreader:
    async def main() -> Spreader:
        exchange = Exchange(Random(1), USERS, nodes=1)
        await exchange.decide(0, after_ms=1_000)
        node = exchange.nodes[0]
        pools = Pools(node.pool, node.bundles)
        spreader = Spreader(pools, taken.send, now_ms=lambda: exchange.time_ms, slot=lambda: exchange.slot)
        running = asyncio.create_task(spreader.run())
        await work(exchange)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return spreader

    return asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (nothing tells of it)
            await asyncio.sleep(0.002)


def test_the_first_entry_goes_at_once_and_those_of_the_next_moment_together() -> None:
    taken = Taken()
    raws = [transfer(0, nonce) for nonce in range(31)]

    async def work(exchange: Exchange) -> None:
        exchange.hand_in(0, ONE, raws[0])
        await until(lambda: len(taken.batches) == 1)
        for raw in raws[1:]:
            exchange.hand_in(0, ONE, raw)
        await until(lambda: sum(map(len, taken.batches)) == len(raws))

    played(taken, work)
    assert taken.batches == [raws[:1], raws[1:]]
    assert taken.times_s[1] - taken.times_s[0] >= SPREAD_COLLECT_S * 0.9


def test_half_a_batch_does_not_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPREAD_COLLECT_S", 60)
    monkeypatch.setattr(spread_module, "BATCH_ENTRIES_MAX", 20)
    taken = Taken()
    raws = [transfer(0, nonce) for nonce in range(31)]

    async def work(exchange: Exchange) -> None:
        exchange.hand_in(0, ONE, raws[0])
        await until(lambda: len(taken.batches) == 1)
        exchange.hand_in(0, ONE, *raws[1:10])
        await asyncio.sleep(0.05)
        assert len(taken.batches) == 1
        exchange.hand_in(0, ONE, *raws[10:])
        await until(lambda: sum(map(len, taken.batches)) >= 30)

    played(taken, work)
    assert [len(batch) for batch in taken.batches[:3]] == [1, 20, 10]


def test_what_is_not_taken_goes_later_in_order_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPREAD_RETRY_S", 0.01)
    taken = Taken(refusals=3)
    raws = [transfer(0, nonce) for nonce in range(40)]

    async def work(exchange: Exchange) -> None:
        exchange.hand_in(0, ONE, *raws[:20])
        await asyncio.sleep(0.015)
        exchange.hand_in(0, ONE, *raws[20:])
        await until(lambda: sum(map(len, taken.batches)) == len(raws))

    spreader = played(taken, work)
    assert [raw for batch in taken.batches for raw in batch] == raws
    statistics = spreader.statistics()
    assert statistics["send_failures"] == 3
    assert statistics["entries_sent"] == len(raws)
    assert statistics["batches_sent"] == len(taken.batches)


@pytest.mark.parametrize(("text", "raised"), [("tx already exists in cache", False), ("mempool is full", True)])
def test_a_batch_that_cometbft_has_already_counts_as_sent(
    text: str, raised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(self: CometRpc, tx: bytes) -> dict[str, object]:
        raise CometRpcError(f"CometBFT answers broadcast_tx_async with: Internal error {text}")

    monkeypatch.setattr(CometRpc, "broadcast_tx_async", answer)

    async def main() -> None:
        async with CometRpc("http://127.0.0.1:1") as comet:
            await send_through(comet)(b"batch")

    if raised:
        with pytest.raises(CometRpcError):
            asyncio.run(main())
    else:
        asyncio.run(main())
