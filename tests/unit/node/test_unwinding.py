"""A rollup that went back: what may run again waits again, in its order; parts of bundles do not."""

from typing import Any

import pytest

from plait.execution.bundles import BundleCandidate
from plait.mempool import BundlePool, Pool
from plait.mempool.history import Decided, DroppedEnd, Pooled
from plait.native import Transaction, decode_transactions
from plait.node.unwinding import follow_unwound
from plait.protocol.effects import SubBlockDecided
from plait.types import Bundle, Leg, RollupId, Slot
from sim.l1_world import L1World

A, B = RollupId(901), RollupId(902)


class Lines:
    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.said.append({"event": event, **fields})


class Follower:
    """Pools that follow a world as a node's do."""

    def __init__(self, world: L1World) -> None:
        self.world, self.pool, self.bundles, self.lines = world, Pool(), BundlePool(), Lines()
        for record in world.nodes[0].ledger.rollups:
            native = world.nodes[0].rollups[record.rollup_id]
            self.pool.add_rollup(native, record.parameters)
            self.bundles.add_rollup(native, record.parameters)

    def follow(self, effect: SubBlockDecided) -> SubBlockDecided:
        follow_unwound(effect, self.pool, self.bundles, None, self.lines)
        self.pool.on_decided(effect)
        self.bundles.on_decided(effect)
        return effect

    def blocks(self, seconds: int) -> None:
        for second in range(1, seconds + 1):
            if second % 2 == 0:
                self.world.l1.grow()
                self.world.report()
            self.follow(self.world.step())


def signed(world: L1World, rollup_id: RollupId, user: int, nonce: int) -> bytes:
    return world.wallets[user].sign_1559(rollup_id, nonce, to=b"\x77" * 20, value=1, max_priority_fee_per_gas=1)


def hash_of(rollup_id: RollupId, raw: bytes) -> bytes:
    (found,) = decode_transactions([raw], rollup_id)
    assert isinstance(found, Transaction)
    return found.hash


async def test_transactions_wait_again_and_a_bundle_is_dropped_whole() -> None:
    world = L1World(interval_s=2)
    follower = Follower(world)
    follower.blocks(6)
    plain = [signed(world, A, 0, nonce) for nonce in range(3)]
    follower.follow(world.step(transactions={A: [plain[:2]]}))
    follower.follow(world.step(transactions={A: [plain[2:]]}))
    legs = tuple(Leg(rollup_id=one, transactions=(signed(world, one, 1, 0),)) for one in (A, B))
    bundle = follower.bundles.decode(Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(60)))
    slot = world.nodes[0].info().slot
    follower.bundles.admit(bundle, world.time_ms, slot)
    offered: list[BundleCandidate] = follower.bundles.candidates(slot)
    decided = follower.follow(world.step(bundles=offered))
    assert [one.hash for one in decided.bundles] == [bundle.hash]
    lane = follower.pool.lanes[A]
    end = lane.history.get(hash_of(A, plain[2]))
    assert isinstance(end, Decided)
    waiter = lane.waiters.add(hash_of(A, plain[2]), "sealed", end)

    world.l1.reorganise(3, grow=1)
    world.report()
    follower.follow(world.step(100))
    effect = follower.follow(world.step(100))
    assert {one.rollup_id for one in effect.unwound} == {A, B}
    assert isinstance(waiter.result(), DroppedEnd)
    assert waiter.result().code == "unwound"
    assert [follower.pool.status(A, hash_of(A, raw)) for raw in plain] == [Pooled("pending")] * 3
    found = follower.bundles.status(bundle.hash)
    assert found is not None
    assert found.mishap is not None
    assert (found.status, found.mishap.code) == ("dropped", "unwound")
    for leg in legs:
        assert follower.pool.get(leg.rollup_id, hash_of(leg.rollup_id, leg.transactions[0])) is None
    assert [line["waiting_again"] for line in follower.lines.said] == [3, 0]
    assert follower.lines.said[0]["bundles"] == ["0x" + bundle.hash.hex()]
    queues = follower.pool.candidates()
    assert [ready.transaction.nonce for queue in queues[A] for ready in queue] == [0, 1, 2]
    follower.blocks(6)
    again = follower.follow(world.step(transactions={A: [plain]}))
    assert again.transactions == 3
    status = follower.pool.status(A, hash_of(A, plain[2]))
    assert status is not None
    assert status.status == "decided"


@pytest.mark.parametrize("overtaken", [True, False])
async def test_a_transaction_that_cannot_run_any_more_says_why(overtaken: bool) -> None:
    """Its sender used the nonce otherwise meanwhile: it is dropped with that reason, not silently."""
    world = L1World(interval_s=2)
    follower = Follower(world)
    follower.blocks(4)
    raw = signed(world, A, 0, 0)
    follower.follow(world.step(transactions={A: [[raw]]}))
    world.l1.reorganise(2, grow=1)
    world.report()
    follower.follow(world.step(100))
    other = world.wallets[0].sign_1559(A, 0, to=b"\x78" * 20, value=2, max_priority_fee_per_gas=1)
    effect = follower.follow(world.step(1_000, transactions={A: [[other]]} if overtaken else {}))
    assert effect.unwound
    status = follower.pool.status(A, hash_of(A, raw))
    assert status is not None
    assert (status.status == "dropped") is overtaken
    if overtaken:
        assert isinstance(status, DroppedEnd)
        assert status.code == "nonce_too_low"
