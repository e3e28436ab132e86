"""Scenarios E as far as one process shows them: proposers that crash or lie, restarts from the log, rounds."""

from __future__ import annotations

import pytest

from plait.engines.simulated import Chances, replay
from plait.interop.messages import MESSENGER
from plait.protocol.requests import Accepted, ProcessRequest
from plait.types import Height
from sim.workload import REVERTING_CODE
from tests.scenarios.messages import send
from tests.scenarios.world import NOWHERE, STEADY, USERS, A, B, World, calldata

COUNT = calldata("count()")


def test_e01_the_proposer_crashes_before_the_decision() -> None:
    """A proposer has prepared a bundle and is gone before anything is decided => the others have no trace of it; the
    bundle is decided from another's proposal, and the one that comes back agrees."""
    world = World(chances=STEADY)
    offer = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]})
    prepared = world.engine.live[0][1].prepare(world.request(offer))
    assert prepared.transactions == 2
    world.engine.nodes[0].application = None
    assert world.there(offer) == {False}
    assert world.decide(offer).bundles == [offer.bundle.hash]
    world.engine.restart(0)
    assert len({application.app_hash for _, application in world.engine.live}) == 1
    assert world.there(offer) == {True}


@pytest.mark.parametrize("when", ["before", "after"])
def test_e02_crashes_after_the_decision(when: str) -> None:
    """Validators crash after a bundle with deliveries was decided, before or after they applied it => when they come
    back both legs and the delivery are there, once."""
    always = {"crash_before_commit" if when == "before" else "crash_after_commit": 100}
    quiet = {"crash_before_commit": 0, "crash_after_commit": 0}
    world = World(relay="free", chances=Chances(byzantine=0, rival=0, undecided=0, not_asked=0, **(quiet | always)))
    bench = world.deploy_everywhere("Workbench")
    legs = {A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT))], B: [world.tx(B, 0, value=7)]}
    offer = world.offer(legs, delivery_required=True)
    assert world.decide(offer).bundles == [offer.bundle.hash]
    assert len(world.engine.live) == 1, "all but one are down"
    for node in world.engine.nodes:
        if node.application is None:
            world.engine.restart(node.index)
    assert world.there(offer) == {True}
    assert (world.balance(B, NOWHERE), world.ask(B, bench, "counter()")) == (7, 1)
    assert len({application.app_hash for _, application in world.engine.live}) == 1


@pytest.mark.parametrize("with_senders", [True, False])
def test_e04_restart_from_the_log(with_senders: bool) -> None:
    """A log with bundles, deliveries, relays and failed attempts is replayed, also on top of a part of itself => the
    same app hash at every height, the same heads and accounts; replaying it again changes nothing."""
    world = World(relay="free")
    bench = world.deploy_everywhere("Workbench")
    for place in range(4):
        legs = {A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT))], B: [world.tx(B, 0, value=7)]}
        bad = world.offer({A: [world.tx(A, 1)], B: [world.tx(B, 1, b"", REVERTING_CODE)]})
        world.decide(world.offer(legs, delivery_required=place % 2 == 0), bad, after_ms=700)
    restored = replay(world.twin().engine.nodes[0].start(), world.engine.log[:6], with_senders=with_senders)
    replay(restored, world.engine.log, with_senders=with_senders)
    assert restored.info() == world.info
    replay(restored, world.engine.log, with_senders=with_senders)
    assert restored.info() == world.info
    for rollup_id in (A, B):
        rollup = world.rollup(rollup_id)
        assert restored.rollups[rollup_id].head.header_rlp == rollup.head.header_rlp
        addresses = [*(user.address for user in USERS), bench, NOWHERE]
        assert restored.rollups[rollup_id].accounts(addresses, -1) == rollup.accounts(addresses, -1)


def test_e06_a_proposer_includes_a_bundle_that_fails() -> None:
    """A byzantine proposal holds a bundle one leg of which reverts, or whose delivery is missing => every validator
    refuses it with the same code, and a good proposal for the same height is accepted right after."""
    world = World(relay="free")
    bench = world.deploy_everywhere("Workbench")
    reverting = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, b"", REVERTING_CODE)]})
    lacking = world.offer({A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT))]}, delivery_required=True)
    assert world.refusal(world.forged(reverting)).code == "bundle_leg_failed"
    assert world.refusal(world.forged(lacking)).code == "bundle_delivery_failed"
    assert world.decide(lacking).bundles == [lacking.bundle.hash]
    assert world.ask(B, bench, "counter()") == 1


def test_e13_rounds_with_other_proposals_of_one_height() -> None:
    """Several rounds of one height propose other bundles for the same nonces, all valid, and one of them is decided =>
    each is accepted by everybody, and what stays is the decided one alone."""
    world = World(chances=STEADY)
    offers = [world.offer({A: [world.tx(A, 0, value=5 + n)], B: [world.tx(B, 0, value=7 + n)]}) for n in range(4)]
    for offer in offers:
        proposal = world.prepare(offer).proposal
        request = ProcessRequest(height=Height(world.info.height + 1), time_ms=world.time_ms, proposal=proposal)
        assert all(isinstance(node.process(request), Accepted) for _, node in world.engine.live)
    assert world.decide(offers[2]).bundles == [offers[2].bundle.hash]
    assert [world.there(offer) for offer in offers] == [{False}, {False}, {True}, {False}]
    assert (world.balance(A, NOWHERE), world.balance(B, NOWHERE)) == (7, 9)
