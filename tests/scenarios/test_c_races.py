"""Scenarios C: others were faster, blocks are full, time passes. Execution in order decides; nothing is locked."""

from __future__ import annotations

from random import Random

import pytest

from plait.execution.bundles import BundleCandidate
from plait.native import PENDING
from plait.protocol.proposal import decode_proposal, encode_entry, encode_leg_item
from plait.types import Milliseconds
from sim.forging import with_bundles
from sim.workload import BURNING_CODE
from tests.scenarios.contracts import open_market, swap
from tests.scenarios.world import NOWHERE, USERS, A, B, C, World, calldata, fails_without_trace

COUNT = calldata("count()")


def test_c01_the_nonce_was_used_by_an_earlier_local_transaction() -> None:
    """A plain transaction with the bundle's nonce on B is decided first => the bundle never happens, nor any part of it
    on A; with the next nonce it does."""
    world = World()
    late = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]})
    world.happen(B, world.tx(B, 0, value=100))
    fails_without_trace(world, late, code="bundle_leg_failed", reason="nonce_too_low", rollup_id=B)
    assert (world.balance(A, NOWHERE), world.nonce(A, USERS[0].address)) == (0, 0)
    again = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]})
    assert world.decide(again).bundles == [again.bundle.hash]
    assert (world.balance(A, NOWHERE), world.balance(B, NOWHERE)) == (5, 107)


def test_c02_the_base_fee_rose_above_the_cap() -> None:
    """The leg on B caps its fee at today's base fee, then full blocks raise it => no trace while it is too high; once
    empty blocks let it fall again, the same bundle takes place."""
    world = World(gas_limit=2_000_000)
    block = world.rollup(B).open_block
    assert block is not None
    exact = world.tx(B, 0, value=7, gas=21_000, max_fee_per_gas=block.base_fee, max_priority_fee_per_gas=0)
    offer = world.offer({A: [world.tx(A, 0, value=5)], B: [exact]})
    assert len(decode_proposal(world.prepare(offer).proposal).bundles) == 1, "a simulation now says yes"
    for _ in range(3):
        burning = world.tx(B, 7, b"", BURNING_CODE, gas=1_900_000)
        world.decide(plain={B: [burning]}, after_ms=1_000)
    world.decide(after_ms=1_000)
    now = world.rollup(B).open_block
    assert now is not None
    assert now.base_fee > block.base_fee
    fails_without_trace(world, offer, code="bundle_leg_failed", reason="fee_cap_too_low", rollup_id=B)
    assert world.nonce(A, USERS[0].address) == 0
    for _ in range(60):
        if world.decide(offer, after_ms=1_000).bundles:
            break
    assert (world.balance(A, NOWHERE), world.balance(B, NOWHERE)) == (5, 7)


@pytest.mark.parametrize("least_share_percent", [100, 50])
def test_c03_the_price_was_moved_by_an_earlier_bundle(least_share_percent: int) -> None:
    """Two bundles buy on one exchange; the second was made for the price before the first => it is executed again where
    it stands: dropped without trace when it insists on that price, at the new price when it does not."""
    world = World()
    token, exchange = open_market(world)
    expected = world.ask(B, exchange, "amountOutFor(bool,uint256)", False, 10**18)
    least = expected * least_share_percent // 100

    def buying(user: int, at_least: int, ready_ms: int) -> BundleCandidate:
        to = USERS[user].address
        buy = world.tx(B, user, exchange, swap(False, 10**18, at_least, to), value=10**18)
        return world.offer({A: [world.tx(A, user, value=5)], B: [buy]}, ready_ms=ready_ms)

    first, second = buying(0, 1, 1), buying(1, least, 2)
    assert len(decode_proposal(world.prepare(second).proposal).bundles) == 1, "alone it would hold"
    twin = world.twin()
    decided = world.decide(first, second)
    bought = [world.ask(B, token, "balanceOf(address)", USERS[user].address) for user in (0, 1)]
    if least_share_percent == 100:
        twin.decide(first)
        assert decided.failed[second.bundle.hash].reason == "reverted"
        assert world.info == twin.info
        assert (bought, world.nonce(A, USERS[1].address)) == ([expected, 0], 0)
    else:
        assert decided.bundles == [first.bundle.hash, second.bundle.hash]
        assert bought[0] == expected > bought[1] >= least
        assert world.balance(A, NOWHERE) == 10


def test_c04_fifty_bundles_on_one_hot_exchange() -> None:
    """Fifty bundles of five traders on one exchange of A, each with a transfer on B => all take place one after the
    other in one sub-block, none aborts, and the reserves are those of fifty trades in that order."""
    world = World()
    token, exchange = open_market(world)
    base = quote = 10**19
    offers = []
    got = [0] * 5
    for place in range(50):
        user = place % 5
        amount = 10**15 * (1 + place)
        buy = world.tx(A, user, exchange, swap(False, amount, 1, USERS[user].address), value=amount, after=place // 5)
        pay = world.tx(B, user, value=1, gas=21_000, after=place // 5)
        offers.append(world.offer({A: [buy], B: [pay]}, ready_ms=1 + place))
        effective = amount * 997
        bought = effective * base // (quote * 1_000 + effective)
        base, quote, got[user] = base - bought, quote + amount, got[user] + bought
    decided = world.decide(*offers)
    assert decided.bundles == [offer.bundle.hash for offer in offers]
    assert (decided.failed, decided.deferred) == ({}, 0)
    assert [world.ask(A, exchange, name) for name in ("reserveBase()", "reserveQuote()")] == [base, quote]
    assert [world.ask(A, token, "balanceOf(address)", user.address) for user in USERS[:5]] == got
    assert world.balance(B, NOWHERE) == 50


@pytest.mark.parametrize("percent", [0, 25, 50, 90])
def test_c05_random_conflicts(percent: int) -> None:
    """Sixty bundles over three rollups, this share of them on one hot contract => none aborts because of another, and
    every contract has counted exactly its calls."""
    print(f"percent={percent}")
    world = World(3)
    hot = world.deploy_everywhere("Workbench")
    cold = [world.deploy(rollup_id, "Workbench") for rollup_id in world.ids]
    random = Random(percent)
    used = {(rollup_id, user): 0 for rollup_id in world.ids for user in range(6)}
    counts = {(rollup_id, target): 0 for rollup_id, own in zip(world.ids, cold, strict=True) for target in (hot, own)}
    offers = []
    for place in range(60):
        user, legs = place % 6, {}
        for rollup_id in sorted(random.sample(world.ids, 2)):
            target = hot if random.randrange(100) < percent else cold[world.ids.index(rollup_id)]
            legs[rollup_id] = [world.tx(rollup_id, user, target, COUNT, after=used[rollup_id, user], gas=100_000)]
            used[rollup_id, user] += 1
            counts[rollup_id, target] += 1
        offers.append(world.offer(legs, ready_ms=1 + place))
    decided = world.decide(*offers)
    assert (len(decided.bundles), decided.failed, decided.deferred) == (60, {}, 0)
    for (rollup_id, target), expected in counts.items():
        assert world.ask(rollup_id, target, "counter()") == expected
    for (rollup_id, user), expected in used.items():
        assert world.nonce(rollup_id, USERS[user].address) == expected


def test_c06_one_sender_in_two_bundles() -> None:
    """Two bundles share one nonce on B, a third uses the next => the earlier of the two and the third take place, no
    part of the other; without the earlier one the other takes its place."""
    world = World()
    first = world.offer({A: [world.tx(A, 1, value=1)], B: [world.tx(B, 0, value=1)]}, ready_ms=1)
    rival = world.offer({A: [world.tx(A, 2, value=2)], B: [world.tx(B, 0, value=2)]}, ready_ms=2)
    after = world.offer({A: [world.tx(A, 3, value=4)], B: [world.tx(B, 0, value=4, after=1)]}, ready_ms=3)
    twin = world.twin()
    decided = world.decide(first, rival, after)
    assert decided.bundles == [first.bundle.hash, after.bundle.hash]
    assert decided.failed[rival.bundle.hash].reason == "nonce_too_low"
    assert [world.balance(i, NOWHERE) for i in (A, B)] == [5, 5]
    assert world.nonce(A, USERS[2].address) == 0
    assert twin.decide(rival, after).bundles == [rival.bundle.hash, after.bundle.hash]
    assert [twin.balance(i, NOWHERE) for i in (A, B)] == [6, 6]


def test_c07_code_takes_another_path_in_the_block_than_in_the_simulation() -> None:
    """A leg rewrites ten storage cells with the gas that this takes now; an earlier transaction clears them, so
    that it costs more => it runs out of gas in the block and leaves no trace; who claims that it held is refused."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.happen(B, world.tx(B, 7, bench, calldata("fill(uint256,uint256,uint256)", 0, 10, 1)))
    tight = world.tx(B, 0, bench, calldata("fill(uint256,uint256,uint256)", 0, 10, 2), gas=120_000)
    offer = world.offer({A: [world.tx(A, 0, value=5)], B: [tight]})
    assert len(decode_proposal(world.prepare(offer).proposal).bundles) == 1, "a simulation now says yes"
    world.happen(B, world.tx(B, 7, bench, calldata("fill(uint256,uint256,uint256)", 0, 10, 0)))
    claimed = with_bundles(
        world.application,
        world.prepare().proposal,
        [encode_entry(Milliseconds(1), offer.bundle.terms_bytes)],
        [
            (leg.rollup_id, [encode_leg_item(offer.bundle.hash, data)])
            for leg, data in zip(offer.bundle.terms.legs, offer.bundle.leg_bytes, strict=True)
        ],
    )
    refused = world.refusal(claimed)
    assert (refused.code, refused.fields["reason"]) == ("bundle_leg_failed", "out_of_gas")
    fails_without_trace(world, offer, code="bundle_leg_failed", reason="out_of_gas", rollup_id=B)
    assert world.nonce(A, USERS[0].address) == 0


def test_c09_code_that_depends_on_time_block_and_gas_price() -> None:
    """Legs store a fold of everything that a block tells a contract, and a trade has a deadline of this very second =>
    every validator stores the same words, and the trade of the next second leaves no trace."""
    world = World()
    _, exchange = open_market(world)
    bench = world.deploy_everywhere("Workbench")
    block = world.rollup(B).open_block
    assert block is not None
    buy = calldata("swap(bool,uint256,uint256,address,uint256)", False, 10**15, 1, NOWHERE, block.timestamp)
    legs = {i: [world.tx(i, 0, bench, calldata("environment()"))] for i in (A, B)}
    timely = world.offer(legs | {B: [*legs[B], world.tx(B, 0, exchange, buy, value=10**15, after=1)]})
    late = world.offer({A: [world.tx(A, 1, value=5)], B: [world.tx(B, 1, exchange, buy, value=10**15)]})
    assert world.decide(timely).bundles == [timely.bundle.hash]
    for rollup_id in (A, B):
        opened = world.rollup(rollup_id).open_block
        assert opened is not None
        folds = {
            application.rollups[rollup_id].call(_asking(bench, opened.number), PENDING, None, None, 10**7).output
            for _, application in world.engine.live
        }
        assert len(folds) == 1
        assert folds != {bytes(32)}
    world.decide(after_ms=1_000)
    fails_without_trace(world, late, code="bundle_leg_failed", reason="reverted", rollup_id=B)
    assert world.balance(A, NOWHERE) == 0


def test_c10_a_full_block_defers_the_whole_bundle() -> None:
    """The block of B has no room left => nothing of the bundle in this block of A either, and no failure is counted;
    in the next slot both legs take place in one sub-block."""
    world = World(gas_limit=2_000_000)
    world.decide(plain={B: [world.tx(B, 7, b"", BURNING_CODE, gas=1_500_000)]})
    offer = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7, gas=1_000_000)]})
    twin = world.twin()
    decided = world.decide(offer)
    twin.decide()
    assert (decided.bundles, decided.failed, decided.deferred) == ([], {}, 1)
    assert world.info == twin.info
    assert world.there(offer) == {False}
    assert world.decide(offer, after_ms=1_000).bundles == [offer.bundle.hash]
    assert (world.balance(A, NOWHERE), world.balance(B, NOWHERE)) == (5, 7)


def test_c11_different_block_times() -> None:
    """Rollups with blocks of one, two and three seconds (the OP Stack knows no shorter ones) => the bundle is in one
    sub-block of all, in open blocks of different numbers and ages, and is sealed with each in its own time."""
    world = World(3, block_times=(1, 2, 3))
    offer = world.offer({i: [world.tx(i, 0, value=5)] for i in world.ids})
    decided = world.decide(offer, after_ms=2_000)
    assert decided.bundles == [offer.bundle.hash]
    numbers = {}
    for rollup_id, leg in zip(world.ids, offer.bundle.legs, strict=True):
        place = world.rollup(rollup_id).transaction_location(leg[0].hash)
        assert place is not None
        numbers[rollup_id] = place[0]
    assert numbers[A] > numbers[B] > numbers[C]
    sealed = []
    for _ in range(4):
        world.decide(after_ms=1_000)
        sealed.append([world.rollup(i).head.number >= numbers[i] for i in world.ids])
    assert sealed[-1] == [True, True, True]
    assert sealed[0] != sealed[-1], "not all in the same second"
    assert [world.balance(i, NOWHERE) for i in world.ids] == [5, 5, 5]


def test_c13_the_deadline_passes() -> None:
    """A bundle whose window has not begun, or has ended, is not tried => neither trace nor failure; within its window,
    first and last slot included, it takes place."""
    world = World()
    now = world.slot
    for first, last in ((now + 2, now + 3), (now - 2, now - 1)):
        offer = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]}, slots=(first, last))
        twin = world.twin()
        decided = world.decide(offer)
        twin.decide()
        assert (decided.bundles, decided.failed, decided.deferred) == ([], {}, 1)
        assert world.info == twin.info
    waiting = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]}, slots=(now + 2, now + 2))
    assert [bool(world.decide(waiting, after_ms=1_000).bundles) for _ in range(3)][:2] == [False, True]
    assert (world.balance(A, NOWHERE), world.balance(B, NOWHERE)) == (5, 7)


def _asking(bench: bytes, number: int) -> bytes:
    data = calldata("cells(uint256)", number).hex()
    return f'{{"to": "0x{bench.hex()}", "data": "0x{data}"}}'.encode()
