"""A relayer that wants to be paid counted the gas of a delivery, not that of the claim that brings the fee home: a fee
between the two let anybody make it pay. Now what it earns covers both, or it does not deliver."""

from __future__ import annotations

from plait.interop.messages import MESSENGER, RELAY_FEES
from tests.scenarios.messages import delivered, foreseen, send
from tests.scenarios.world import STEADY, USERS, A, B, World, calldata

COUNT = calldata("count()")


def test_a_relayers_ether_over_both_rollups_never_falls() -> None:
    """Fees from below a delivery's cost to above that of delivery and claim: delivered exactly when it gains."""
    world = World(relay="paid", chances=STEADY)
    assert world.relayer is not None
    bench = world.deploy_everywhere("Workbench")
    world.happen(B, world.tx(B, 5, bench, COUNT))
    seen = set()
    for fee in range(4 * 10**13, 22 * 10**13, 2 * 10**13):
        world.fresh()
        message = foreseen(world, A, B, bench, USERS[0].address, COUNT)
        attach = calldata("attach(bytes32,uint64)", message.message_hash, 500_000)
        raws = [
            world.tx(A, 0, MESSENGER, send(B, bench, COUNT)),
            world.tx(A, 0, RELAY_FEES, attach, value=fee, after=1),
        ]
        had = sum(world.balance(i, world.relayer.address) for i in world.ids)
        world.decide(plain={A: raws})
        gained = sum(world.balance(i, world.relayer.address) for i in world.ids) - had
        assert (gained > 0) == delivered(world, message), fee
        assert gained >= 0, fee
        seen.add(gained > 0)
        world.waiting = []
    assert seen == {True, False}, "both cases came up"
