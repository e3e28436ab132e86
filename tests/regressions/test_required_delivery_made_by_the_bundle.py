"""A bundle that needs its messages delivered failed when its own legs deliver them, or when it sends one twice: the
relayer was asked for what was delivered already, and the messenger refuses a second delivery. And what a leg delivered
was not told as delivered, so relayers went on trying it."""

from __future__ import annotations

import pytest

from plait.interop.messages import MESSENGER
from tests.scenarios.contracts import hop, start
from tests.scenarios.messages import delivered, foreseen, relaying, send
from tests.scenarios.world import USERS, A, B, RelayPolicy, World, calldata

COUNT = calldata("count()")


@pytest.mark.parametrize("relay", ["free", None])
def test_a_leg_that_delivers_is_a_delivery(relay: RelayPolicy | None) -> None:
    """A pinned bundle sends on A and delivers on B by itself: it holds, with and without a relayer."""
    world = World(relay=relay)
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    message = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    legs = {A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT))], B: [relaying(world, 3, message)]}
    offer = world.offer(legs, delivery_required=True, pins=(world.pin(A),))
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash], decided.failed
    assert decided.effect.bundles[0].deliveries == ()
    assert (decided.effect.delivered, world.waiting) == ({message.message_hash}, [])
    assert (delivered(world, message), world.ask(B, bench, "counter()")) == (True, 1)


def test_a_message_sent_twice_is_delivered_once() -> None:
    """The second log is of the same message (resendMessage)."""
    world = World(relay="free")
    bench = world.deploy_everywhere("Workbench")
    resend = calldata(
        "resendMessage(uint256,uint256,address,address,bytes)",
        B,
        world.ask(A, MESSENGER, "messageNonce()"),
        USERS[0].address,
        bench,
        COUNT,
    )
    raws = [world.tx(A, 0, MESSENGER, send(B, bench, COUNT)), world.tx(A, 0, MESSENGER, resend, after=1)]
    offer = world.offer({A: raws}, delivery_required=True)
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash], decided.failed
    assert len(decided.effect.sent) == 2
    assert world.ask(B, bench, "counter()") == 1
    assert world.waiting == []


def test_a_leg_may_deliver_a_reply_that_a_delivery_sends() -> None:
    """A sends to B, whose answer to A the leg on A has delivered in advance: the relayer brings the question only."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    world.fresh()
    arrive = "arrive((uint256,address,bytes,bool,uint256)[],uint256)"
    answer = calldata(arrive, [hop(A, bench, COUNT)], 1)
    reply = foreseen(world, B, A, travel, travel, answer, log=2)
    journey = start([hop(B, bench, COUNT), hop(A, bench, COUNT)])
    offer = world.offer(
        {A: [world.tx(A, 0, travel, journey), relaying(world, 3, reply)]},
        delivery_required=True,
        pins=(world.pin(A), world.pin(B)),
    )
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash], decided.failed
    assert [world.ask(i, bench, "counter()") for i in (A, B)] == [1, 1]
    assert len(decided.effect.delivered) == 2
