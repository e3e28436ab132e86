"""F: a rollup's side, as far as one process shows it. The other ids of the group are played with real programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest

from plait.derivation.attributes import Deposit, user_deposit_source_hash
from plait.derivation.l1_facts import RollupL1Facts
from plait.execution.bundles import BundleCandidate
from plait.native import PENDING
from plait.protocol.effects import SubBlockDecided
from plait.protocol.requests import Accepted, BundleFailed
from plait.types import Address, BlockNumber, Bundle, Gas, Leg, Milliseconds, Pin, RollupId, Slot, Wei
from sim.bundling import decoded
from sim.l1_world import L1World

A, B = RollupId(901), RollupId(902)
NOWHERE = Address(b"\x77" * 20)
LOG = bytes.fromhex("60006000a0")
"""LOG0 of nothing."""


class Tried(NamedTuple):
    """A sub-block for which bundles were offered."""

    effect: SubBlockDecided
    failed: tuple[BundleFailed, ...]


def offered(world: L1World, *offers: BundleCandidate) -> Tried:
    """A sub-block a second later, which every validator accepts."""
    world.time_ms = Milliseconds(world.time_ms + 1_000)
    prepared = world.prepare(bundles=offers)
    world.items = []
    assert all(isinstance(verdict, Accepted) for verdict in world.verdicts(prepared.proposal))
    return Tried(world.decide(prepared.proposal), prepared.bundles_failed)


def bundle_of(
    world: L1World, *, nonces: tuple[int, int] = (0, 0), value: int = 1, pins: Sequence[Pin] = ()
) -> BundleCandidate:
    """A transfer by wallet 0 on A and on B."""
    legs = tuple(
        Leg(
            rollup_id=one,
            transactions=(
                world.wallets[0].sign_1559(one, number, to=NOWHERE, value=value, max_priority_fee_per_gas=1),
            ),
        )
        for one, number in zip((A, B), nonces, strict=True)
    )
    bundle = decoded(Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(2**30), pins=tuple(pins)))
    return BundleCandidate(bundle, world.time_ms, False, bundle.legs[0][0].sender, 8)


def force(world: L1World, to: Address | None, *, value: int = 0, data: bytes = b"") -> None:
    """The newest L1 block forces a transaction of wallet 0 into A."""
    deposit = Deposit(
        source_hash=user_deposit_source_hash(world.l1.head.hash, 0),
        sender=world.wallets[0].address,
        to=to,
        value=Wei(value),
        gas_limit=Gas(100_000),
        data=data,
    )
    said = RollupL1Facts(rollup_id=A, deposits=(deposit.encode(),))
    world.l1.blocks[-1] = msgspec.structs.replace(world.l1.head, rollups=(said,))


def places(world: L1World, offer: BundleCandidate) -> list[tuple[bool, ...]]:
    """On every node, whether each leg's transaction is in a block."""
    return [
        tuple(
            node.rollups[leg.rollup_id].transaction_location(transactions[0].hash) is not None
            for leg, transactions in zip(offer.bundle.terms.legs, offer.bundle.legs, strict=True)
        )
        for node in world.nodes
    ]


def nonce(world: L1World, rollup_id: RollupId) -> int:
    """Of wallet 0."""
    return world.nodes[0].rollups[rollup_id].accounts([world.wallets[0].address], PENDING)[0][0]


def begun(how: str) -> L1World:
    """Four validators whose newest L1 block, not reported yet, forces what takes the ground from a leg on A."""
    world = L1World(validators=4, interval_s=2)
    for second in range(1, 7):
        if second % 2 == 0:
            world.l1.grow()
            world.report()
        world.step()
    world.l1.grow()
    spoil(world, how)
    return world


def spoil(world: L1World, how: str) -> None:
    if how == "nonce":
        force(world, NOWHERE)
    elif how == "ether":
        balance = world.nodes[0].rollups[A].accounts([world.wallets[0].address], PENDING)[0][1]
        force(world, NOWHERE, value=balance)
    else:
        force(world, None, data=LOG)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("nonce", ("bundle_leg_failed", "nonce_too_low")),
        ("ether", ("bundle_leg_failed", "insufficient_funds")),
        ("place", ("bundle_pin_missed", "")),
    ],
)
def test_f11_a_forced_transaction_spoils_a_leg_of_a_bundle_that_waits(how: str, code: tuple[str, str]) -> None:
    """L1 forces a transaction that uses the nonce, moves the ether, or takes the reserved place of one leg, in the
    block that the bundle waits for => it comes first, as L1 demands; the bundle fails whole, and the other rollup and
    the network's state are as if it had never been offered."""
    twin, world = begun(how), begun(how)
    for one in (twin, world):
        one.report()
        one.step()
    while nonce(twin, A) == 0:
        twin.step()
        if nonce(twin, A) == 0:
            world.step()
    block = twin.nodes[0].rollups[A].open_block
    assert block is not None
    pins = [Pin(rollup_id=A, block_number=BlockNumber(block.number), log_index=0)] if how == "place" else []
    offer = bundle_of(world, nonces=(int(how == "ether"), 0), pins=pins)
    tried = offered(world, offer)
    assert [(one.hash, one.rollup_id) for one in tried.failed] == [(offer.bundle.hash, A)], tried.failed
    assert (tried.failed[0].code, tried.failed[0].reason) == code
    assert not tried.effect.bundles
    assert places(world, offer) == [(False, False)] * 4
    assert (nonce(world, A), nonce(world, B)) == (1, 0), "what L1 forces took place, and on one rollup alone"
    assert world.nodes[0].app_hash == twin.nodes[0].app_hash


@pytest.mark.parametrize("how", ["nonce", "ether"])
def test_f11_a_forced_transaction_comes_after_a_bundle_that_is_decided(how: str) -> None:
    """L1 forces a transaction that would have spoilt a leg, after the bundle was confirmed => the bundle stays where it
    is, on both rollups; what L1 forces is in the next block."""
    world = begun(how)
    offer = bundle_of(world)
    tried = offered(world, offer)
    assert [one.hash for one in tried.effect.bundles] == [offer.bundle.hash]
    while nonce(world, A) == 1:
        world.report()
        world.step()
    assert (nonce(world, A), nonce(world, B)) == (2, 1)
    assert places(world, offer) == [(True, True)] * 4


def test_f11_a_reorganised_l1_forces_a_transaction_before_a_confirmed_bundle() -> None:
    """The L1 block of a confirmed bundle is replaced by one that forces what spoils a leg => the bundle is gone from
    both rollups on every node; offered again, it fails whole, and stays out of both."""
    world = begun("nonce")
    world.l1.blocks[-1] = msgspec.structs.replace(world.l1.head, rollups=())
    world.report()
    world.step()
    offer = bundle_of(world)
    tried = offered(world, offer)
    assert [one.hash for one in tried.effect.bundles] == [offer.bundle.hash]
    world.step()
    assert places(world, offer) == [(True, True)] * 4

    world.l1.reorganise(2, grow=1)
    newest = world.l1.blocks.pop()
    spoil(world, "nonce")
    # what is forced makes its block another one, so the block after it is made again
    world.l1.grow()
    assert world.l1.head.number == newest.number
    world.report()
    world.step(100)
    effect = world.step(100)
    assert {one.rollup_id for one in effect.unwound} == {A, B}
    assert {leg[0].raw for leg in offer.bundle.legs} <= {raw for one in effect.unwound for raw in one.lost}
    assert places(world, offer) == [(False, False)] * 4
    while nonce(world, A) == 0:
        world.step()
    again = offered(world, offer)
    assert [(one.hash, one.rollup_id) for one in again.failed] == [(offer.bundle.hash, A)], again.failed
    assert places(world, offer) == [(False, False)] * 4
    assert (nonce(world, A), nonce(world, B)) == (1, 0)
