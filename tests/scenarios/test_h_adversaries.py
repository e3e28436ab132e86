"""Scenarios H: senders and builders who want to harm others, and what it gets them."""

from __future__ import annotations

import time

import msgspec
import pytest

from plait.errors import BundleRefused
from plait.execution.bundles import BundleCandidate
from plait.limits import BUNDLE_FAILED_GAS_PER_SUB_BLOCK_MAX, BUNDLE_TRIALS_FAILED_PER_SLOT_MAX
from plait.mempool import BundlePool
from plait.protocol.proposal import decode_proposal, encode_leg_item
from plait.types import Bundle, Comparison, Condition, ConditionKind, FeeBid, Leg, RollupId, Slot, Wei
from sim.forging import entries_of, with_bundles
from sim.workload import BURNING_CODE, REVERTING_CODE
from tests.scenarios.contracts import open_market, swap
from tests.scenarios.world import NOWHERE, STEADY, USERS, A, B, C, Decided, World, fails_without_trace


def failing(world: World, user: int, value: int, gas: int = 100_000) -> Bundle:
    """A bundle whose last leg always reverts, or burns its gas when that is above 100,000."""
    code = REVERTING_CODE if gas <= 100_000 else BURNING_CODE
    legs = ((A, world.tx(A, user, value=value, gas=21_000)), (B, world.tx(B, user, b"", code, gas=gas)))
    return Bundle(
        legs=tuple(Leg(rollup_id=rollup_id, transactions=(raw,)) for rollup_id, raw in legs),
        not_before_slot=Slot(0),
        deadline_slot=Slot(world.slot + 30),
    )


class Pooled:
    """A world whose bundles come from a real bundle pool."""

    def __init__(self, world: World, **limits: int) -> None:
        self.world = world
        self.pool = BundlePool(**limits)
        for record in world.application.ledger.rollups:
            self.pool.add_rollup(world.rollup(record.rollup_id), record.parameters)

    def send(self, bundle: Bundle) -> bytes:
        """Admits a bundle; its hash."""
        return self.pool.admit(self.pool.decode(bundle), self.world.time_ms, self.world.slot)

    def decide(self, after_ms: int = 250) -> Decided:
        """A sub-block of what the pool offers; the pool learns what came of it."""
        world = self.world
        offers = self.pool.candidates(Slot((world.time_ms + after_ms) // 1_000 - world.network.ledger.time_ms // 1_000))
        decided = world.decide(*offers, after_ms=after_ms)
        self.pool.on_failed(tuple(decided.failed.values()), world.slot)
        self.pool.on_decided(decided.effect)
        return decided

    def trials(self, bundle_hash: bytes) -> int:
        """Failed trials of a bundle so far."""
        status = self.pool.status(bundle_hash)  # type: ignore[arg-type]
        assert status is not None
        return status.trials


def test_h01_a_flood_of_bundles_that_always_fail() -> None:
    """One sender hands in 200 bundles that burn gas and fail; others hand in good ones each sub-block => every good one
    is in the very next sub-block, the flood gets a bounded number of trials per slot, and its sender's nonce, balance
    and the rest of the state are as if it had sent nothing."""
    world = World(chances=STEADY)
    pooled = Pooled(world)
    flood = [pooled.send(failing(world, 0, 1 + value, gas=1_000_000)) for value in range(200)]
    had = world.balance(A, USERS[0].address)
    for nonce in range(6):
        good = world.offer({A: [world.tx(A, 1, value=1, gas=21_000)], B: [world.tx(B, 1, value=1, gas=21_000)]})
        sent = pooled.send(_bundle_of(world, good))
        decided = pooled.decide()
        assert decided.bundles == [sent], nonce
    slots = 3
    assert sum(map(pooled.trials, flood)) <= slots * BUNDLE_TRIALS_FAILED_PER_SLOT_MAX
    assert sum(map(pooled.trials, flood)) > 0
    assert (world.nonce(A, USERS[0].address), world.balance(A, USERS[0].address)) == (0, had)
    assert (world.balance(A, NOWHERE), world.balance(B, NOWHERE)) == (6, 6)


def test_h01_many_senders_flood() -> None:
    """Seven accounts flood together => gas burnt in failed trials stays below its bound per sub-block, and a good
    bundle that arrived last takes place in the first sub-block that has a turn for it."""
    world = World(chances=STEADY)
    flood = [
        world.offer(
            {A: [world.tx(A, user, value=place, gas=21_000)], B: [world.tx(B, user, b"", BURNING_CODE, gas=9_000_000)]},
            ready_ms=1 + place,
        )
        for place in range(5)
        for user in range(7)
    ]
    good = world.offer({A: [world.tx(A, 7, value=1)], B: [world.tx(B, 7, value=1)]}, ready_ms=10_000)
    decided = world.decide(*flood, good)
    burnt = 9_000_000 * len(decided.failed)
    assert burnt <= BUNDLE_FAILED_GAS_PER_SUB_BLOCK_MAX + 9_000_000
    assert decided.deferred > 0
    retried = [offer._replace(retried=offer.bundle.hash in decided.failed) for offer in flood]
    for _ in range(8):
        if decided.bundles:
            break
        decided = world.decide(*retried, good)
        failed = set(decided.failed)
        retried = [offer._replace(retried=offer.retried or offer.bundle.hash in failed) for offer in retried]
    assert decided.bundles == [good.bundle.hash]


@pytest.mark.parametrize("kind", ["bid", "pin"])
def test_h01_a_flood_that_pushes_to_the_front(kind: str) -> None:
    """Two accounts hand in fresh bundles for every sub-block that burn a block's gas and fail, each with a bid that its
    account could just pay, or pinned, so that they stand before everybody => who failed is not tried again before that
    is worked off: a bundle without a bid that was there first takes place within a slot."""
    world = World(chances=STEADY)
    pooled = Pooled(world)
    good = world.offer({A: [world.tx(A, 7, value=1, gas=21_000)], B: [world.tx(B, 7, value=1, gas=21_000)]})
    sent = pooled.send(_bundle_of(world, good))
    decided: list[bytes] = []
    for place in range(5):
        for flood in range(8):
            bundle = failing(world, flood % 2, 1 + 8 * place + flood, gas=25_000_000)
            if kind == "bid":
                bundle = msgspec.structs.replace(bundle, fee_bid=FeeBid(rollup_id=B, amount=Wei(10**18 + flood)))
            else:
                bundle = msgspec.structs.replace(bundle, pins=(world.pin(A),))
            pooled.send(bundle)
        decided += pooled.decide(after_ms=100).bundles
    assert decided == [sent]
    assert (world.balance(A, NOWHERE), world.balance(B, NOWHERE)) == (1, 1)
    assert all(world.nonce(i, USERS[user].address) == 0 for i in (A, B) for user in (0, 1))


def test_h02_nobody_can_hold_a_lock() -> None:
    """A bundle that touches a hot exchange waits for a slot far away, another can never pay => there is nothing to
    lock: a third one trades on that exchange in this sub-block."""
    world = World()
    token, exchange = open_market(world)
    legs = {A: [world.tx(A, 0, value=1)], B: [world.tx(B, 0, exchange, swap(False, 10**15, 1, NOWHERE), value=10**15)]}
    waiting = world.offer(legs, ready_ms=1, slots=(world.slot + 1_000, world.slot + 2_000))
    broke = world.offer(
        {A: [world.tx(A, 2, value=10**30)], B: [world.tx(B, 2, exchange, swap(False, 1, 1, NOWHERE), value=1)]},
        ready_ms=2,
    )
    trade = {A: [world.tx(A, 1, value=1)], B: [world.tx(B, 1, exchange, swap(False, 10**15, 1, NOWHERE), value=10**15)]}
    prompt = world.offer(trade, ready_ms=3)
    decided = world.decide(waiting, broke, prompt)
    assert decided.bundles == [prompt.bundle.hash]
    assert world.ask(B, token, "balanceOf(address)", NOWHERE) > 0
    assert world.nonce(B, USERS[0].address) == 0


def test_h03_a_builder_orders_so_that_a_bundle_fails() -> None:
    """A builder trades first, so that a bundle's least amount cannot be met => the bundle's sender loses nothing: no
    nonce, no fee, no leg; a proposal that holds the bundle behind that trade all the same is refused by everyone."""
    world = World()
    _, exchange = open_market(world)
    fair = world.ask(B, exchange, "amountOutFor(bool,uint256)", False, 10**17)
    buy = world.tx(B, 0, exchange, swap(False, 10**17, fair, USERS[0].address), value=10**17)
    victim = world.offer({A: [world.tx(A, 0, value=5)], B: [buy]}, ready_ms=9)
    first = world.offer(
        {B: [world.tx(B, 1, exchange, swap(False, 10**18, 1, USERS[1].address), value=10**18)]}, ready_ms=1
    )
    assert world.refusal(world.forged(first, victim)).code == "bundle_leg_failed"
    before = [(world.nonce(i, USERS[0].address), world.balance(i, USERS[0].address)) for i in (A, B)]
    twin = world.twin()
    decided = world.decide(first, victim)
    twin.decide(first)
    assert decided.failed[victim.bundle.hash].reason == "reverted"
    assert [(world.nonce(i, USERS[0].address), world.balance(i, USERS[0].address)) for i in (A, B)] == before
    assert world.info == twin.info


def test_h04_taking_a_bundle_apart() -> None:
    """A builder leaves a leg out, brings one without its bundle, exchanges one, or puts a leg's transactions into the
    place of plain ones under the bundle's name => every validator refuses each of these."""
    world = World()
    one = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]})
    other = world.offer({A: [world.tx(A, 1, value=5)], B: [world.tx(B, 1, value=7)]})
    honest = world.prepare(one).proposal
    entries = entries_of(decode_proposal(honest))
    items = dict(decode_proposal(honest).blocks)
    foreign = encode_leg_item(one.bundle.hash, other.bundle.leg_bytes[1])
    cases = {
        "bundle_leg_missing": (entries, [(A, items[A])]),
        "bundle_item_unexpected": ([], [(A, items[A])]),
        "bundle_leg_mismatch": (entries, [(A, items[A]), (B, [foreign])]),
    }
    for code, (listed, blocks) in cases.items():
        assert world.refusal(with_bundles(world.application, honest, listed, blocks)).code == code
    assert world.decide(one).bundles == [one.bundle.hash]


def test_h04_nothing_of_a_bundle_is_shown_before_it_is_decided() -> None:
    """A waiting bundle => no validator and no pool shows any transaction of it, by hash, in a block, or as a candidate
    of the plain pool."""
    world = World(chances=STEADY)
    pooled = Pooled(world)
    offer = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]}, slots=(0, world.slot + 100))
    sent = pooled.send(_bundle_of(world, offer))
    for leg, transactions in zip(offer.bundle.terms.legs, offer.bundle.legs, strict=True):
        for transaction in transactions:
            rollup = world.rollup(leg.rollup_id)
            assert rollup.transaction_json(transaction.hash) is None
            assert rollup.raw_transaction(transaction.hash) is None
    assert pooled.decide().bundles == [sent]
    assert world.there(offer) == {True}


def test_h07_reads_that_cost_much() -> None:
    """Bundles with as many conditions as are allowed, all on other rollups and all but the last true => each of them is
    read, the trial counts against its sender, and a thousand such trials take seconds at most."""
    world = World(3, chances=STEADY)
    conditions = tuple(
        Condition(
            rollup_id=(A, C)[place % 2],
            kind=ConditionKind.BALANCE,
            address=USERS[place % 8].address,
            input=b"",
            comparison=Comparison.GREATER if place < 15 else Comparison.EQUAL,
            value=0,
        )
        for place in range(16)
    )
    offers = [
        world.offer({B: [world.tx(B, 0, value=1 + place, gas=21_000)]}, conditions=conditions, credit=1_000)
        for place in range(1_000)
    ]
    began = time.perf_counter()
    prepared = world.prepare(*offers)
    assert time.perf_counter() - began < 10, "about 0.1 s on an idle machine"
    assert len(prepared.bundles_failed) == 1_000
    assert all(failed.charged and failed.code == "bundle_condition_false" for failed in prepared.bundles_failed)
    fails_without_trace(world, offers[0], code="bundle_condition_false", rollup_id=C, index=15)


def test_h08_another_senders_transactions_in_a_bundle_drain_nobody() -> None:
    """Somebody bundles a stolen signed transaction with a leg that fails, over and over => its signer pays nothing and
    keeps the nonce; after four, that sender's unsigned account is full; the transaction is still good."""
    world = World(chances=STEADY)
    pooled = Pooled(world, per_sender_max=4)
    stolen = world.tx(A, 1, value=1, gas=21_000)
    for value in range(4):
        legs = (
            Leg(rollup_id=A, transactions=(stolen,)),
            Leg(rollup_id=B, transactions=(world.tx(B, 0, b"", REVERTING_CODE + bytes([value]), gas=100_000),)),
        )
        pooled.send(Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(world.slot + 30)))
    with pytest.raises(BundleRefused) as refused:
        pooled.send(failing(world, 1, 7))
    assert refused.value.code == "bundle_quota_reached"
    had = world.balance(A, USERS[1].address)
    for _ in range(4):
        assert pooled.decide().bundles == []
    assert (world.nonce(A, USERS[1].address), world.balance(A, USERS[1].address)) == (0, had)
    assert world.decide(plain={A: [stolen]}).statuses(A) == [1], "the owner's own transaction is as good as ever"


def test_h09_nothing_stands_between_the_legs() -> None:
    """A builder tries to put its trades between two legs: a plain transaction, or the legs of a second bundle in
    another order on each rollup => refused by everyone; honest proposals hold bundles one after the other."""
    world = World()
    one = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]}, ready_ms=1)
    two = world.offer({A: [world.tx(A, 1, value=5)], B: [world.tx(B, 1, value=7)]}, ready_ms=2)
    honest = world.prepare(one, two).proposal
    parts = decode_proposal(honest)
    items = dict(parts.blocks)
    plain = world.prepare(plain=world.candidates({B: [world.tx(B, 2, value=1)]})).proposal
    (item,) = dict(decode_proposal(plain).blocks)[B]
    between = [(A, items[A]), (B, [items[B][0], item, items[B][1]])]
    crossed = [(A, items[A]), (B, items[B][::-1])]
    assert (
        world.refusal(with_bundles(world.application, honest, entries_of(parts), between)).code == "bundle_leg_missing"
    )
    assert (
        world.refusal(with_bundles(world.application, honest, entries_of(parts), crossed)).code == "bundle_leg_mismatch"
    )
    decided = world.decide(one, two)
    for part in decided.effect.rollups:
        assert [t.sender for t in part.transactions] == [USERS[0].address, USERS[1].address]


def test_h10_fees_are_paid_for_included_work_only() -> None:
    """A sub-block with a bundle that holds and one that fails after burning gas => what the senders lost is exactly
    value plus what the vaults gained, and the failed one's sender lost nothing."""
    world = World()
    good = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]}, ready_ms=1)
    burning = world.tx(B, 1, b"", BURNING_CODE, gas=1_000_000)
    bad = world.offer({A: [world.tx(A, 1, value=5)], B: [burning]}, ready_ms=2)
    ether = {i: world.ether(i) for i in (A, B)}
    users = {i: [world.balance(i, USERS[u].address) for u in (0, 1)] for i in (A, B)}
    vaults = {i: _vaults(world, i) for i in (A, B)}
    decided = world.decide(good, bad)
    assert decided.bundles == [good.bundle.hash]
    for rollup_id, value in ((A, 5), (B, 7)):
        now = [world.balance(rollup_id, USERS[u].address) for u in (0, 1)]
        paid = users[rollup_id][0] - now[0] - value
        assert paid == _vaults(world, rollup_id) - vaults[rollup_id] > 0
        assert now[1] == users[rollup_id][1]
        assert world.ether(rollup_id) == ether[rollup_id]


def _vaults(world: World, rollup_id: RollupId) -> int:
    """What the four fee vaults hold (OP Stack specs, predeploys)."""
    vaults = [bytes.fromhex("42000000000000000000000000000000000000" + last) for last in ("11", "19", "1a", "1b")]
    return sum(world.balance(rollup_id, vault) for vault in vaults)


def _bundle_of(world: World, offer: BundleCandidate) -> Bundle:
    """An offer as its sender hands it in."""
    legs = tuple(
        Leg(rollup_id=leg.rollup_id, transactions=tuple(transaction.raw for transaction in transactions))
        for leg, transactions in zip(offer.bundle.terms.legs, offer.bundle.legs, strict=True)
    )
    return Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(world.slot + 30))
