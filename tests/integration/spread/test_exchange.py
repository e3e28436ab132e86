"""Nodes that exchange batches over bad links: nothing is lost with its first node, nothing is done twice, and floods
stay cheap.

The links are simulated; applications, pools, codec, bookkeeping and intake are the real ones.
"""

import asyncio
from random import Random

import pytest

from plait.codec.batch import Batch, batch_hash_of, encode_batch
from plait.limits import (
    SPREAD_AGAIN_HEIGHTS,
    SPREAD_KEPT_HEIGHTS,
    SPREAD_PROBE_ENTRIES,
    SPREAD_REFUSED_PER_S_MAX,
    SPREAD_THIN_BATCHES_MAX,
)
from plait.mempool import Admitted, Decided, PoolLimits, Sealed
from plait.native import keccak256, recovery_statistics
from plait.node import intake as intake_module
from plait.node.spread import BatchCode, RefusalBudget
from plait.types import Height, RollupId
from sim.pooling import USERS, transfer
from sim.spreading import Exchange, SpreadNode
from sim.wallet import Wallet

ONE = RollupId(901)
SEEDS = range(12)


def batch_of(*raws: bytes, height: int = 0, rollup_id: int = ONE) -> bytes:
    return encode_batch(Batch(height=Height(height), transactions=((RollupId(rollup_id), raws),)))


def is_decided(node: SpreadNode, rollup_id: int, raw: bytes) -> bool:
    return isinstance(node.pool.status(RollupId(rollup_id), keccak256(raw)), Decided | Sealed)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_with_its_first_node_and_each_sender_is_recovered_once(seed: int) -> None:
    """Replay: pytest "tests/integration/spread/test_exchange.py" -k "with_its_first_node and <seed>"."""

    async def main() -> None:
        random = Random(seed)
        exchange = Exchange(random, USERS, nodes=4, loss=0.3, repeat=0.3)
        await exchange.decide(0, after_ms=1_000)
        before = recovery_statistics()["recovered"]
        raws: dict[bytes, int] = {}
        nonces: dict[tuple[int, int], int] = {}
        for _ in range(12):
            for _ in range(random.randrange(8)):
                first, user, rollup_id = random.randrange(4), random.randrange(len(USERS)), random.choice((901, 902))
                nonce = nonces.setdefault((user, rollup_id), 0)
                nonces[user, rollup_id] += 1
                raw = transfer(user, nonce, chain_id=rollup_id, value=7_000 + seed)  # nobody else recovers these
                raws[raw] = rollup_id
                (result,) = exchange.hand_in(first, rollup_id, raw)
                assert isinstance(result, Admitted)
                if random.randrange(4) == 0:
                    exchange.hand_in((first + 1) % 4, rollup_id, raw)
            await exchange.spread(rounds=random.randrange(3))
            if random.randrange(3) == 0:
                await exchange.decide(random.randrange(4))
        exchange.loss = 0.0
        await exchange.spread()
        survivors = exchange.nodes[1:]
        keyed = [(raw, rollup_id, keccak256(raw)) for raw, rollup_id in raws.items()]
        left = [(raw, i) for raw, i, h in keyed if any(node.pool.status(RollupId(i), h) for node in survivors)]
        assert len(left) > 0.9 * len(raws)
        exchange.kill(0)
        for height in range(2 * SPREAD_AGAIN_HEIGHTS + 10):
            await exchange.spread()
            await exchange.decide(1 + height % 3)
        for node in survivors:
            missing = [raw.hex() for raw, rollup_id in left if not is_decided(node, rollup_id, raw)]
            assert not missing, f"seed {seed}: {len(missing)} of {len(left)} are not decided"
            assert node.pool.count == 0
            assert not node.kept, f"seed {seed}: finished batches stay in the common pool"
            assert node.spreader.spread.waiting == 0
        assert recovery_statistics()["recovered"] - before == len(raws), f"seed {seed}"

    asyncio.run(main())


def test_what_a_node_missed_reaches_it_when_it_is_sent_again() -> None:
    async def main() -> None:
        exchange = Exchange(Random(1), USERS, nodes=3, loss=1.0)
        await exchange.decide(0, after_ms=1_000)
        raw = transfer(0, 0, value=99)
        exchange.hand_in(0, ONE, raw)
        await exchange.spread()
        assert exchange.nodes[1].pool.count == exchange.nodes[2].pool.count == 0
        exchange.loss = 0.0
        for _ in range(SPREAD_AGAIN_HEIGHTS):
            await exchange.decide(1)
            await exchange.spread()
        assert exchange.nodes[1].pool.count == exchange.nodes[2].pool.count == 1
        assert exchange.nodes[0].spreader.spread.entries_again == 1
        await exchange.decide(2)
        assert is_decided(exchange.nodes[0], ONE, raw)

    asyncio.run(main())


def test_duplicates_cost_no_recovery_no_admission_and_no_sending() -> None:
    async def main() -> None:
        exchange = Exchange(Random(2), USERS, nodes=2)
        await exchange.decide(0, after_ms=1_000)
        raws = [transfer(user, nonce, value=7) for user in range(4) for nonce in range(20)]
        exchange.hand_in(0, ONE, *raws)
        await exchange.spread()
        receiver = exchange.nodes[1]
        assert receiver.pool.count == len(raws)
        before, admitted = recovery_statistics()["recovered"], receiver.pool.admitted_count
        for again in range(50):
            assert await receiver.offer(batch_of(*raws, height=1_000 + again)) == BatchCode.KNOWN
        assert await receiver.send() == 0
        exchange.hand_in(1, ONE, *raws)
        assert await receiver.send() == 0
        assert recovery_statistics()["recovered"] == before
        assert receiver.pool.admitted_count == admitted
        await exchange.decide(1)
        assert await receiver.offer(batch_of(*raws, height=7)) == BatchCode.KNOWN
        assert recovery_statistics()["recovered"] == before
        assert not receiver.kept

    asyncio.run(main())


def test_recheck_answers_from_memory_and_evicts_what_is_decided_replaced_or_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        exchange = Exchange(Random(3), USERS, nodes=2)
        await exchange.decide(0, after_ms=1_000)
        low = transfer(0, 0, max_fee_per_gas=10**10, max_priority_fee_per_gas=10**6)
        exchange.hand_in(0, ONE, low)
        await exchange.spread()
        gapped = transfer(1, 5)
        exchange.hand_in(0, ONE, gapped)
        await exchange.spread()
        receiver = exchange.nodes[1]
        assert len(receiver.kept) == 2

        def never(data: bytes) -> Batch:
            raise AssertionError("a recheck decodes nothing")

        monkeypatch.setattr(intake_module, "decode_batch", never)
        exchange.hand_in(1, ONE, transfer(0, 0, max_fee_per_gas=10**11, max_priority_fee_per_gas=10**9))
        await receiver.recheck()
        assert list(receiver.kept) == [batch_hash_of(batch_of(gapped, height=1))], "the replaced one is gone"
        await exchange.decide(1)
        assert len(receiver.kept) == 1, "what waits behind a gap is kept"
        unknown = await receiver.intake.check(batch_of(low, height=77), True)
        assert unknown[0] == BatchCode.FINISHED

    asyncio.run(main())


def strangers(count: int, seed: int) -> list[bytes]:
    """Well-formed transactions of accounts without funds."""
    nobody = Wallet(keccak256(b"nobody %d" % seed))
    return [nobody.sign_1559(ONE, nonce, to=bytes(20), value=1) for nonce in range(count)]


def test_a_batch_of_worthless_transactions_costs_a_few_recoveries_however_long_it_is() -> None:
    async def main() -> None:
        exchange = Exchange(Random(4), USERS, nodes=1)
        await exchange.decide(0, after_ms=1_000)
        node = exchange.nodes[0]
        junk = strangers(600, 4)
        before = recovery_statistics()["recovered"]
        code, sentence = await node.intake.check(batch_of(*junk), False)
        assert code == BatchCode.REFUSED
        assert sentence.startswith("insufficient_funds: ")
        assert recovery_statistics()["recovered"] - before == 5 * SPREAD_PROBE_ENTRIES, "two parts"
        assert node.pool.count == 0

    asyncio.run(main())


def test_good_transactions_of_a_bad_batch_are_admitted_and_sent_by_this_node_itself() -> None:
    async def main() -> None:
        exchange = Exchange(Random(5), USERS, nodes=2)
        await exchange.decide(0, after_ms=1_000)
        good = [transfer(0, nonce) for nonce in range(8)]
        assert await exchange.nodes[0].offer(batch_of(*good, *strangers(200, 5))) == BatchCode.REFUSED
        assert exchange.nodes[0].pool.count == len(good)
        assert not exchange.nodes[0].kept
        await exchange.spread()
        assert exchange.nodes[1].pool.count == len(good)

    asyncio.run(main())


def test_when_much_was_wasted_a_batch_shows_one_good_entry_first_and_honest_batches_still_pass() -> None:
    async def main() -> None:
        exchange = Exchange(Random(6), USERS, nodes=1)
        await exchange.decide(0, after_ms=1_000)
        node = exchange.nodes[0]
        node.intake._budget = budget = RefusalBudget(per_s=20, clock=lambda: 0.0)
        junk = strangers(400, 6)
        for start in range(0, 40, 8):
            await node.offer(batch_of(*junk[start : start + 8], height=start))
        assert budget.is_spent
        before = recovery_statistics()["recovered"]
        for start in range(40, 400, 8):
            await node.offer(batch_of(*junk[start : start + 8], height=start))
        assert recovery_statistics()["recovered"] - before == 45, "one for each batch"
        assert await node.offer(batch_of(*[transfer(1, nonce) for nonce in range(50)])) == BatchCode.KEPT
        assert node.pool.count == 50

    asyncio.run(main())


def test_old_entries_in_ever_new_batches_are_read_up_to_a_bound_and_news_passes_again_after_a_second() -> None:
    """They cost their sender nothing, and CometBFT takes each for a new one."""
    now = 0.0

    async def main() -> None:
        nonlocal now
        exchange = Exchange(Random(7), USERS, nodes=1)
        await exchange.decide(0, after_ms=1_000)
        node = exchange.nodes[0]
        raws = [transfer(2, nonce) for nonce in range(20)]
        held = batch_of(*raws, height=1)
        assert await node.offer(held) == BatchCode.KEPT
        read = 10 * len(held)
        node.intake._waste = RefusalBudget(per_s=read, clock=lambda: now)
        known = node.intake.entries_known
        codes = [await node.offer(batch_of(*raws, height=2 + again)) for again in range(200)]
        assert codes[:9] == [BatchCode.KNOWN] * 9
        assert codes[11:] == [BatchCode.REFUSED] * 189
        assert node.intake.entries_known - known <= 11 * len(raws), "the rest was not read"
        news = batch_of(*[transfer(3, nonce) for nonce in range(20)])
        assert await node.offer(news) == BatchCode.REFUSED
        assert (await node.intake.check(held, False))[0] == BatchCode.KEPT, "what is held is known unread"
        now = 1.0
        assert (await node.intake.check(news, False))[0] == BatchCode.KEPT
        for start in range(0, 200, 20):  # what brings something costs nothing of it
            assert await node.offer(batch_of(*[transfer(4, start + at) for at in range(20)])) == BatchCode.KEPT
        assert not node.intake._waste.is_spent

    asyncio.run(main())


def test_the_budget_comes_back_with_time_and_owes_at_most_a_second() -> None:
    now = 0.0
    budget = RefusalBudget(clock=lambda: now)
    budget.spend(100 * SPREAD_REFUSED_PER_S_MAX)
    assert budget.is_spent
    now = 0.9
    assert budget.is_spent
    now = 1.1
    assert not budget.is_spent


def test_one_sender_cannot_fill_the_pool_through_batches_nor_starve_others() -> None:
    async def main() -> None:
        limits = PoolLimits(transactions_max=100, per_sender_max=40)
        exchange = Exchange(Random(7), USERS, nodes=1, limits=limits)
        await exchange.decide(0, after_ms=1_000)
        node = exchange.nodes[0]
        for start in range(0, 400, 20):
            await node.offer(batch_of(*[transfer(0, nonce) for nonce in range(start, start + 20)]))
        assert node.pool.count == 40
        assert await node.offer(batch_of(*[transfer(1, nonce) for nonce in range(20)])) == BatchCode.KEPT
        assert node.pool.count == 60

    asyncio.run(main())


def test_a_flood_of_thin_batches_does_not_take_the_common_pool_and_its_entries_go_on_in_full_ones() -> None:
    """Two funded accounts send every transaction in a batch of its own; all of them wait behind a gap."""

    async def main() -> None:
        exchange = Exchange(Random(9), USERS, nodes=2)
        await exchange.decide(0, after_ms=1_000)
        first, second = exchange.nodes
        for user in (0, 1):
            for nonce in range(1, 401):
                await first.offer(batch_of(transfer(user, nonce, value=9)))
        assert first.pool.count == 800
        assert len(first.kept) == SPREAD_THIN_BATCHES_MAX
        assert first.spreader.spread.waiting == 800 - SPREAD_THIN_BATCHES_MAX
        assert await first.send() == 1
        await exchange.travel()
        assert second.pool.count == 800
        assert await first.offer(batch_of(*[transfer(2, nonce) for nonce in range(20)])) == BatchCode.KEPT
        for _ in range(SPREAD_KEPT_HEIGHTS):
            await exchange.decide(0)
        assert not first.kept, "what is stuck leaves the common pool"
        assert first.pool.count == 800

    asyncio.run(main())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "codec_invalid"),
        (b"\xff" * 1_000, "codec_invalid"),
        (bytes(1024 * 1024), "batch_too_large"),
        (batch_of(b"\x02nonsense"), "rlp_malformed"),
        (batch_of(transfer(0, 0), rollup_id=77), "rollup_unknown"),
        (batch_of(transfer(0, 0, chain_id=902)), "chain_id_wrong"),
    ],
    ids=["empty", "garbage", "too large", "not a transaction", "unknown rollup", "other rollup's"],
)
def test_what_is_no_good_batch_is_refused_with_a_code_and_leaves_nothing(data: bytes, code: str) -> None:
    async def main() -> None:
        exchange = Exchange(Random(8), USERS, nodes=1)
        await exchange.decide(0, after_ms=1_000)
        node = exchange.nodes[0]
        found, sentence = await node.intake.check(data, False)
        assert found in {BatchCode.MALFORMED, BatchCode.REFUSED}
        assert sentence.startswith(code + ": ")
        assert len(sentence) > len(code) + 12
        assert node.pool.count == 0
        assert node.spreader.statistics()["batches_held"] == 0
        assert node.spreader.spread.waiting == 0

    asyncio.run(main())
