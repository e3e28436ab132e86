"""Scenarios B with messages: what a message calls fails, and with it everything that depends on it."""

from __future__ import annotations

import pytest
from eth_abi import encode

from plait.interop.messages import ETH_BRIDGE, ETH_LIQUIDITY, MESSENGER
from plait.native import keccak256
from sim.wallet import Wallet
from tests.scenarios.contracts import hop, start
from tests.scenarios.messages import delivered, event, foreseen, relaying, send, validating
from tests.scenarios.world import NOWHERE, USERS, A, B, World, calldata, fails_without_trace

COUNT = calldata("count()")
REVERT = calldata("revertReason(string)", "not for you")
_COUNTED = keccak256(b"Counted(address,uint256)")
PROBE = "probe(address,bytes,uint256)"


def test_b04_the_callers_last_check_fails_after_the_others_succeeded() -> None:
    """A calls B by message, B counts and answers, and what A does with the answer reverts => B's count is undone, and A
    never called: bundle and all deliveries leave no trace."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    journey = [hop(B, bench, COUNT), hop(A, bench, REVERT)]
    offer = world.offer({A: [world.tx(A, 0, travel, start(journey))]}, delivery_required=True)
    fails_without_trace(world, offer, code="bundle_delivery_failed", rollup_id=A, reason="relay_failed")
    assert (world.ask(B, bench, "counter()"), world.ask(A, travel, "begun()")) == (0, 0)
    assert (world.nonce(A, USERS[0].address), world.waiting) == (0, [])
    assert all(world.nonce(i, world.relayer.address) == 0 for i in (A, B))  # type: ignore[union-attr]


def test_b05_the_sender_cannot_catch_what_fails_elsewhere() -> None:
    """The sender wraps its call in a try and the target reverts => a bundle that needs its messages delivered fails all
    the same; the target may catch within itself, then the bundle stands with the caught failure in its state."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    failing = start([hop(B, bench, REVERT)])
    catching = world.tx(A, 0, bench, calldata(PROBE, travel, failing, 800_000))
    offer = world.offer({A: [catching]}, delivery_required=True)
    fails_without_trace(world, offer, code="bundle_delivery_failed", rollup_id=B, reason="relay_failed")
    assert world.ask(A, travel, "begun()") == 0
    caught = start([hop(B, bench, calldata(PROBE, bench, REVERT, 100_000))])
    offer = world.offer({A: [world.tx(A, 0, travel, caught)]}, delivery_required=True)
    assert world.decide(offer).bundles == [offer.bundle.hash]
    assert [world.ask(i, travel, name) for i, name in ((A, "begun()"), (B, "arrivals()"))] == [1, 1]


def test_b05_without_the_demand_the_message_stays_undelivered() -> None:
    """The same failing target, but delivery is not required => the leg on A happened, the message waits, nothing of the
    failed delivery is on B, and its relayer paid nothing."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    had = world.balance(B, world.relayer.address)  # type: ignore[union-attr]
    offer = world.offer({A: [world.tx(A, 0, travel, start([hop(B, bench, REVERT)]))]})
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash]
    assert [message.message_hash for message in world.waiting] == list(decided.undelivered)
    assert set(decided.undelivered.values()) == {"relay_failed"}
    assert decided.statuses(B) == []
    assert (world.balance(B, world.relayer.address), world.ask(A, travel, "begun()")) == (had, 1)  # type: ignore[union-attr]


def test_b06_a_call_that_succeeded_is_undone_by_its_caller() -> None:
    """A message is sent in a call that its caller undoes and survives => there is no message: nothing arrives, a bundle
    that needs its messages delivered has none, and takes place."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    undone = world.tx(A, 0, travel, start([hop(B, bench, COUNT)], undone=True))
    offer = world.offer({A: [undone]}, delivery_required=True)
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash]
    assert (decided.effect.sent, decided.effect.delivered, decided.statuses(B)) == ((), frozenset(), [])
    assert [world.ask(A, travel, "begun()"), world.ask(B, bench, "counter()")] == [1, 0]
    assert world.ask(A, MESSENGER, "messageNonce()") == 0


def test_b07_a_declared_message_that_no_code_executes() -> None:
    """The counterpart of an unused tape entry: an access list declares two messages, the code executes one => fine when
    both exist; when the unused one does not exist, the bundle is refused though nothing reads it."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    topics = [_COUNTED, USERS[0].address.rjust(32, b"\0")]
    used = event(world, A, bench, topics, (1).to_bytes(32, "big"))
    unused = event(world, A, bench, topics, (2).to_bytes(32, "big"), log=1)
    world.happen(A, world.tx(A, 0, bench, COUNT))
    early = world.offer({A: [world.tx(A, 1)], B: [validating(world, B, 0, used, unused)]})
    decided = fails_without_trace(world, early, code="bundle_message_invalid", rollup_id=B, reason="message_missing")
    assert "log 1" in decided.failed[early.bundle.hash].sentence
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    world.happen(A, world.tx(A, 0, bench, COUNT), world.tx(A, 0, bench, COUNT, after=1))
    late = world.offer({A: [world.tx(A, 1)], B: [validating(world, B, 0, used, unused)]})
    assert world.decide(late).bundles == [late.bundle.hash]


@pytest.mark.parametrize("caught", [False, True])
def test_b08_a_delivery_within_a_delivery(caught: bool) -> None:
    """A message's target asks the messenger to deliver another one => the messenger refuses to be entered twice: the
    delivery fails, and the bundle with it; a target that catches that keeps the reason (ReentrantCall) in its state."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    world.fresh()
    inner = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    probing = hop(B, bench, calldata(PROBE, MESSENGER, inner.calldata, 500_000))
    entering = start([probing if caught else hop(B, MESSENGER, inner.calldata)])
    legs = {A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT)), world.tx(A, 0, travel, entering, after=1)]}
    offer = world.offer(legs, delivery_required=True)
    if caught:
        assert world.decide(offer).bundles == [offer.bundle.hash]
        key = int.from_bytes(keccak256(encode(["address", "uint256"], [MESSENGER, 1])), "big")
        answer = keccak256(encode(["bool", "bytes"], [False, keccak256(b"ReentrantCall()")[:4]]))
        assert world.ask(B, bench, "cells(uint256)", key) == int.from_bytes(answer, "big")
        assert world.ask(B, bench, "counter()") == 1, "the inner message was delivered once, by its own delivery"
        return
    fails_without_trace(world, offer, code="bundle_delivery_failed", rollup_id=B, reason="relay_failed")
    assert (world.ask(B, bench, "counter()"), world.ask(A, MESSENGER, "messageNonce()")) == (0, 0)


@pytest.mark.parametrize("fails", [False, True])
def test_b09_a_message_creates_what_the_next_one_uses(fails: bool) -> None:
    """Messages make a contract on B, call it, and make and destroy another => the first is there and was called, the
    second is gone; when a later message fails, neither was ever made."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    make = calldata("create2(bytes32,uint256,bool)", b"\1" * 32, 5, False)
    heir = bytes(19) + b"\x77"
    journeys = [
        [hop(B, bench, make), hop(B, bench, calldata("lastCreated()"))],
        [hop(B, bench, calldata("createAndDestroy(bytes32,address)", bytes(32), heir))],
        [hop(B, bench, REVERT if fails else COUNT)],
    ]
    offer = world.offer({A: [world.tx(A, 0, travel, start(*journeys))]}, delivery_required=True)
    if fails:
        fails_without_trace(world, offer, code="bundle_delivery_failed", rollup_id=B)
        assert world.ask(B, bench, "lastCreated()") == 0
        return
    assert world.decide(offer).bundles == [offer.bundle.hash]
    made = world.ask(B, bench, "lastCreated()").to_bytes(20, "big")
    assert world.ask(B, made, "stored()") == 5
    assert world.ask(B, bench, "counter()") == 1


@pytest.mark.parametrize("short", [0, 1])
def test_b11_ether_arrives_and_is_spent_in_the_same_bundle(short: int) -> None:
    """Ether crosses from A to a newcomer on B who spends all of it in the same bundle => the sums of both rollups hold,
    to the wei; one wei short, nothing crossed."""
    world = World()
    newcomer = Wallet.of_index(4, "newcomer")
    amount, gas, cap = 10**17, 21_000, 2 * 10**9
    world.fresh()
    arriving = calldata("relayETH(address,address,uint256)", USERS[0].address, newcomer.address, amount)
    message = foreseen(world, A, B, ETH_BRIDGE, ETH_BRIDGE, arriving, log=1)
    data_fee = 10**15
    spent = amount - gas * cap - data_fee
    spending = world.tx(
        B, newcomer, value=spent if not short else amount - gas * cap + short, gas=gas, max_fee_per_gas=cap
    )
    legs = {
        A: [world.tx(A, 0, ETH_BRIDGE, calldata("sendETH(address,uint256)", newcomer.address, B), value=amount)],
        B: [relaying(world, 3, message), spending],
    }
    ether = [world.ether(i, newcomer.address) for i in (A, B)]
    liquidity = [world.balance(i, ETH_LIQUIDITY) for i in (A, B)]
    offer = world.offer(legs, pins=(world.pin(A), world.pin(B)))
    if short:
        fails_without_trace(world, offer, code="bundle_leg_failed", reason="insufficient_funds", rollup_id=B, index=1)
        assert [world.balance(i, ETH_LIQUIDITY) for i in (A, B)] == liquidity
        assert world.balance(B, newcomer.address) == 0
    else:
        decided = world.decide(offer)
        assert decided.bundles == [offer.bundle.hash], decided.failed
        assert world.balance(B, NOWHERE) == spent
        assert [world.balance(i, ETH_LIQUIDITY) for i in (A, B)] == [liquidity[0] + amount, liquidity[1] - amount]
    assert [world.ether(i, newcomer.address) for i in (A, B)] == ether


def test_b12_the_sender_can_tell_why_a_call_did_not_happen() -> None:
    """The target reverts, there is no code that takes the call, nobody relays, the fee is missing, the block is full =>
    each has its own code or reason, and a sentence that names the message."""
    reasons = {}
    for name, relay, target_reverts in (
        ("reverts", "free", True),
        ("no relayer", None, False),
        ("no fee", "paid", False),
    ):
        world = World(relay=relay)  # type: ignore[arg-type]
        bench = world.deploy_everywhere("Workbench")
        world.fresh()
        data = REVERT if target_reverts else COUNT
        message = foreseen(world, A, B, bench, USERS[0].address, data)
        offer = world.offer({A: [world.tx(A, 0, MESSENGER, send(B, bench, data))]}, delivery_required=True)
        decided = fails_without_trace(world, offer, code="bundle_delivery_failed", rollup_id=B)
        failed = decided.failed[offer.bundle.hash]
        assert message.message_hash.hex() in failed.sentence
        reasons[name] = (failed.reason, "not for you" in failed.sentence)
        assert not delivered(world, message)
    assert reasons == {"reverts": ("relay_failed", True), "no relayer": ("", False), "no fee": ("relay_unpaid", False)}
