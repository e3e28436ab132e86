"""Scenarios H with messages: endless calls, drained sponsors, legs that cannot be taken apart, fees for deliveries."""

from __future__ import annotations

import pytest

from plait.interop.messages import MESSENGER, RELAY_DESK, RELAY_FEES
from plait.limits import CONDITION_CALLS_PER_SUB_BLOCK_MAX, RELAY_DEPTH_MAX
from plait.protocol.proposal import decode_proposal
from plait.types import Comparison, Condition, ConditionKind, FeeBid, Wei
from sim.forging import entries_of, with_bundles
from tests.scenarios.messages import delivered, foreseen, relaying, send
from tests.scenarios.world import NOWHERE, STEADY, USERS, A, B, World, calldata, fails_without_trace

COUNT = calldata("count()")
FEE = 10**16
VAULT = bytes.fromhex("4200000000000000000000000000000000000011")


def wealth(world: World) -> int:
    """All ether of the relayer over all rollups."""
    assert world.relayer is not None
    return sum(world.balance(rollup_id, world.relayer.address) for rollup_id in world.ids)


def test_h04_a_leg_that_needs_the_other_is_worth_nothing_alone() -> None:
    """A byzantine proposer takes signed transactions out of a bundle and orders one leg as plain transactions => where
    the leg executes a message of the other leg, every validator refuses that, and so does each with the other leg cut
    short; together they are fine. (A leg that needs nothing of the other is only as safe as its proposer is silent.)"""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    there = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    back = foreseen(world, B, A, bench, USERS[1].address, COUNT)
    legs = {
        A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT)), relaying(world, 0, back, after=1)],
        B: [world.tx(B, 1, MESSENGER, send(A, bench, COUNT)), relaying(world, 1, there, after=1)],
    }
    for plain in ({A: legs[A]}, {B: legs[B]}, {A: legs[A], B: legs[B][:0]}):
        refused = world.refusal(world.forged(plain=plain))
        assert (refused.code, refused.fields["reason"]) == ("message_invalid", "message_missing")
    offer = world.offer(legs, pins=(world.pin(A), world.pin(B)))
    assert world.decide(offer).bundles == [offer.bundle.hash]
    assert [world.ask(i, bench, "counter()") for i in (A, B)] == [1, 1]


@pytest.mark.parametrize("required", [True, False])
def test_h06_ping_pong_without_end(required: bool) -> None:
    """A contract sends itself back and forth for ever => a bundle that needs all of it delivered fails and leaves no
    trace; without that the bundle stands, a sub-block delivers RELAY_DEPTH_MAX rounds, and the rest waits; a bundle of
    somebody else takes place beside it."""
    world = World(relay="free", gas_limit=100_000_000)
    travel = world.deploy_everywhere("Itinerary")
    endless = world.tx(A, 0, travel, calldata("forever(uint256,uint256)", A, B))
    offer = world.offer({A: [endless]}, delivery_required=required, ready_ms=1)
    if required:
        fails_without_trace(world, offer, code="bundle_delivery_failed", reason="relay_depth")
        assert world.nonce(A, USERS[0].address) == 0
        return
    honest = world.offer({A: [world.tx(A, 1, value=5)], B: [world.tx(B, 1, value=7)]}, ready_ms=2)
    decided = world.decide(offer, honest)
    assert decided.bundles == [offer.bundle.hash, honest.bundle.hash]
    assert len(decided.effect.delivered) == RELAY_DEPTH_MAX
    assert len(world.waiting) == 1
    assert sum(world.ask(i, travel, "arrivals()") for i in (A, B)) == RELAY_DEPTH_MAX
    world.decide()
    assert sum(world.ask(i, travel, "arrivals()") for i in (A, B)) == 2 * RELAY_DEPTH_MAX


def test_h06_a_paid_ping_pong_ends_with_its_fee() -> None:
    """The same where relayers want to be paid, with a fee attached to the first message only => one delivery; the reply
    waits unpaid, and the relayer has gained what the fee is above its costs."""
    world = World(relay="paid")
    travel = world.deploy_everywhere("Itinerary")
    world.fresh()
    data = calldata("forever(uint256,uint256)", B, A)
    message = foreseen(world, A, B, travel, travel, data)
    attach = calldata("attach(bytes32,uint64)", message.message_hash, 500_000)
    had = wealth(world)
    endless = world.tx(A, 0, travel, calldata("forever(uint256,uint256)", A, B))
    offer = world.offer({A: [endless, world.tx(A, 0, RELAY_FEES, attach, value=FEE, after=1)]})
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash]
    assert decided.effect.delivered == {message.message_hash}
    assert list(decided.undelivered.values()) == ["relay_unpaid"]
    assert had < wealth(world) < had + FEE
    assert world.balance(A, RELAY_FEES) == 0


@pytest.mark.parametrize("attacker", [True, False])
def test_h08_a_sponsor_is_charged_for_its_own_senders_only(attacker: bool) -> None:
    """A sponsor stands in for two messages of one sender; somebody else names it as sponsor and sends, and the sender
    sends three => the stranger's message is not delivered and costs the sponsor nothing; of the sender's three two are
    delivered, and the deposit has fallen by two fees exactly."""
    world = World(relay="paid")
    bench = world.deploy_everywhere("Workbench")
    sponsor, sender = USERS[5].address, USERS[0].address
    world.happen(A, world.tx(A, 5, RELAY_FEES, calldata("depositFor(address)", sponsor), value=10 * FEE))
    world.happen(
        A, world.tx(A, 5, RELAY_FEES, calldata("allow(address,uint256,uint64,uint64)", sender, FEE, 500_000, 2))
    )
    user = 1 if attacker else 0
    world.happen(A, world.tx(A, user, RELAY_FEES, calldata("useSponsor(address)", sponsor)))
    had = wealth(world)
    raws = [world.tx(A, user, MESSENGER, send(B, bench, COUNT), after=n) for n in range(3)]
    decided = world.decide(plain={A: raws})
    expected = 0 if attacker else 2
    assert len(decided.effect.delivered) == expected
    assert world.ask(B, bench, "counter()") == expected
    assert world.ask(A, RELAY_FEES, "deposits(address)", sponsor) == (10 - expected) * FEE
    assert list(decided.undelivered.values()) == ["relay_unpaid"] * (3 - expected)
    assert wealth(world) >= had


def test_h08_a_target_that_burns_gas_cannot_harm_a_paid_relayer() -> None:
    """A fee is attached that pays a plain delivery, and the target burns all the gas there is, or reverts => not
    delivered, undone without a trace; the relayer has on every rollup exactly what it had."""
    world = World(relay="paid")
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    had = [world.balance(i, world.relayer.address) for i in (A, B)]  # type: ignore[union-attr]
    raws = []
    for place, data in enumerate((calldata("burn(uint256)", 60_000), calldata("revertPlain()"))):
        message = foreseen(world, A, B, bench, USERS[0].address, data, log=2 * place, earlier=place)
        attach = calldata("attach(bytes32,uint64)", message.message_hash, 10_000_000)
        raws.append(world.tx(A, 0, MESSENGER, send(B, bench, data), after=2 * place))
        raws.append(world.tx(A, 0, RELAY_FEES, attach, value=10**13, after=2 * place + 1))
    decided = world.decide(plain={A: raws})
    assert decided.statuses(A) == [1] * 4
    assert sorted(decided.undelivered.values()) == ["relay_failed", "relay_unpaid"]
    assert decided.statuses(B) == []
    assert [world.balance(i, world.relayer.address) for i in (A, B)] == had  # type: ignore[union-attr]
    assert world.balance(A, RELAY_FEES) == 2 * 10**13, (
        "the fees are still there, for whoever delivers, or to be refunded"
    )


def test_h09_deliveries_stand_with_their_bundle() -> None:
    """A builder moves a bundle's delivery behind another bundle's, gives it to another bundle, or leaves it out =>
    every validator refuses that."""
    world = World(relay="free")
    bench = world.deploy_everywhere("Workbench")
    offers = [
        world.offer(
            {A: [world.tx(A, user, MESSENGER, send(B, bench, COUNT))]}, delivery_required=True, ready_ms=1 + user
        )
        for user in (0, 1)
    ]
    honest = world.prepare(*offers).proposal
    parts = decode_proposal(honest)
    items = dict(parts.blocks)
    assert [item[:1] for item in items[B]] == [b"\3", b"\3"]
    first, second = items[B]
    exchanged = [first[:33] + second[33:], second[:33] + first[33:]]
    cases = ([second, first], exchanged, [first], [first, second, second])
    for moved in cases:
        refused = world.refusal(with_bundles(world.application, honest, entries_of(parts), [(A, items[A]), (B, moved)]))
        assert refused.code in {"bundle_item_unexpected", "bundle_delivery_failed", "bundle_leg_failed"}, refused
    assert world.decide(*offers).bundles == [offer.bundle.hash for offer in offers]
    assert world.ask(B, bench, "counter()") == 2


def test_h10_a_delivery_is_paid_once_and_only_when_it_happened() -> None:
    """A fee is attached to two messages, one of which cannot be delivered; the other is delivered by the bundle itself
    => its fee is claimed once, in the same sub-block, the other stays attached; nobody can claim again."""
    world = World(relay="paid")
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    good = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    attach = calldata("attach(bytes32,uint64)", good.message_hash, 500_000)
    had = wealth(world)
    legs = {
        A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT)), world.tx(A, 0, RELAY_FEES, attach, value=FEE, after=1)]
    }
    offer = world.offer(legs, delivery_required=True)
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash]
    assert delivered(world, good)
    assert [t.to for part in decided.effect.rollups for t in part.transactions][-2:] == [RELAY_FEES, RELAY_DESK]
    assert world.balance(A, RELAY_FEES) == 0
    assert had < wealth(world) < had + FEE
    bad = foreseen(world, A, B, bench, USERS[0].address, calldata("revertPlain()"))
    raws = [
        world.tx(A, 0, MESSENGER, send(B, bench, calldata("revertPlain()"))),
        world.tx(A, 0, RELAY_FEES, calldata("attach(bytes32,uint64)", bad.message_hash, 500_000), value=FEE, after=1),
    ]
    gained = wealth(world)
    world.decide(plain={A: raws})
    assert not delivered(world, bad)
    assert (world.balance(A, RELAY_FEES), wealth(world)) == (FEE, gained)


@pytest.mark.parametrize(("bid", "holds"), [(10**14, True), (10**14 + 1, False)])
def test_h10_a_fee_bid_is_paid_or_nothing_happens(bid: int, holds: bool) -> None:
    """A bundle bids what it transfers to the fee vault of B, or one wei more => it takes place and the vault has the
    bid, or it leaves no trace; the bid buys the first place among bundles that were there before."""
    world = World()
    legs = {
        A: [world.tx(A, 0, value=1)],
        B: [world.tx(B, 0, VAULT, value=10**14, max_priority_fee_per_gas=0)],
    }
    bidding = world.offer(legs, fee_bid=FeeBid(rollup_id=B, amount=Wei(bid)), ready_ms=9)
    if not holds:
        fails_without_trace(world, bidding, code="bundle_bid_unpaid", rollup_id=B)
        return
    earlier = world.offer({A: [world.tx(A, 1, value=1)], B: [world.tx(B, 1, value=1)]}, ready_ms=1)
    before = world.balance(B, VAULT)
    decided = world.decide(earlier, bidding)
    assert decided.bundles == [bidding.bundle.hash, earlier.bundle.hash]
    assert world.balance(B, VAULT) - before >= bid


def test_h07_calls_that_cost_much() -> None:
    """Bundles with sixteen call conditions that burn all the gas such a call may have => each is read with bounded gas
    and false, the trial counts against its sender, and another sender's bundle is in the same sub-block."""
    world = World(chances=STEADY)
    bench = world.deploy_everywhere("Workbench")
    burning = Condition(
        rollup_id=A,
        kind=ConditionKind.CALL,
        address=bench,
        input=calldata("burn(uint256)", 0),
        comparison=Comparison.GREATER_OR_EQUAL,
        value=0,
    )
    offers = [
        world.offer({B: [world.tx(B, user, value=1)]}, conditions=(burning,) * 16, ready_ms=1 + user)
        for user in range(7)
    ]
    honest = world.offer({A: [world.tx(A, 7, value=5)], B: [world.tx(B, 7, value=7)]}, ready_ms=99)
    decided = world.decide(*offers, honest)
    assert decided.bundles == [honest.bundle.hash]
    assert [failed.code for failed in decided.failed.values()] == ["bundle_condition_false"] * 7
    assert world.balance(B, NOWHERE) == 7


def test_h07_more_calls_than_a_sub_block_makes() -> None:
    """More bundles whose call conditions all hold than a sub-block has calls for, cheap for their sender => as many as
    there are calls for take place, the next is deferred, others without calls are not held up; a proposal with one more
    is refused by every validator."""
    world = World(chances=STEADY)
    bench = world.deploy_everywhere("Workbench")
    true = Condition(
        rollup_id=A,
        kind=ConditionKind.CALL,
        address=bench,
        input=calldata("counter()"),
        comparison=Comparison.EQUAL,
        value=0,
    )
    most = CONDITION_CALLS_PER_SUB_BLOCK_MAX // 16
    offers = [
        world.offer({B: [world.tx(B, 0, value=1, gas=21_000, after=n)]}, conditions=(true,) * 16, ready_ms=1 + n)
        for n in range(most + 1)
    ]
    refused = world.refusal(world.forged(*offers))
    assert refused.code == "bundle_too_many_calls"
    other = world.offer({A: [world.tx(A, 1, value=5)], B: [world.tx(B, 1, value=7)]}, ready_ms=99)
    decided = world.decide(*offers, other)
    assert decided.bundles == [offer.bundle.hash for offer in (*offers[:most], other)]
    assert (decided.failed, decided.deferred) == ({}, 1)
    assert world.decide(offers[most]).bundles == [offers[most].bundle.hash]
    assert world.balance(B, NOWHERE) == most + 1 + 7
