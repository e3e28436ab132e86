"""What a hostile user, contract, validator or L1 can try on rollups that derive from an L1, and what it must not do."""

from itertools import pairwise
from pathlib import Path

import pytest

from plait.crypto.l1_reports import sign_report
from plait.derivation.system_config import UPDATE_GAS_LIMIT
from plait.errors import ActionRefused
from plait.ledger.encoding import decode_ledger, encode_ledger
from plait.limits import L1_DEPOSITS_GAS_MAX, L1_REPORTS_PER_HEIGHT_MAX, UNWIND_BLOCKS_MAX
from plait.mempool.l1_items import L1Items
from plait.node.l1_view import l1_view
from plait.protocol.requests import FinalizeRequest
from plait.types import Address, RollupId
from sim.l1 import Wish
from sim.l1_world import L1World

A, B = RollupId(901), RollupId(902)


def replayed(world: L1World) -> bytes:
    """App hash of a new application that is given the decided proposals."""
    fresh = world.network.application()
    for effect in world.decided:
        fresh.finalize(FinalizeRequest(height=effect.height, time_ms=effect.time_ms, proposal=effect.proposal))
        fresh.commit()
    return fresh.app_hash


def grown(world: L1World, slots: int, every: int) -> None:
    """Slots with an L1 block, reported, after each `every` of them."""
    for slot in range(1, slots + 1):
        if slot % every == 0:
            world.l1.grow()
            world.report()
        world.step()


def paused(world: L1World, slots: int, every: int) -> None:
    """A pause of so many slots, in which the L1 had a block after each `every`; then the network catches up."""
    for _ in range(slots // every):
        world.l1.grow()
    world.step(slots * 1_000)
    while world.state.head != world.l1.head or newest(world, A) < world.nodes[0].ledger.slot:
        world.report()
        world.step(10)


def newest(world: L1World, rollup_id: RollupId) -> int:
    """Number of a rollup's newest block."""
    return next(one.newest_number for one in world.nodes[0].ledger.rollups if one.rollup_id == rollup_id)


def test_block_times_that_do_not_fit_together_freeze_no_rollup_when_the_l1_reorganises() -> None:
    """Anybody may register rollups whose blocks begin together only every 315 slots: an L1 reorganisation of one block
    still takes every rollup back a few blocks, and all go on with the new L1."""
    world = L1World(rollups=1, embedded=3, interval_s=2, block_times=(1, 5, 7, 9))
    grown(world, 161, 2)
    world.l1.reorganise(1, grow=1)
    world.report()
    world.step(100)
    unwound = {one.rollup_id: one.last_lost - one.to_number for one in world.step(100).unwound}
    assert A in unwound
    assert max(unwound.values()) <= 3
    for _ in range(4):
        world.step()
    assert newest(world, A) == world.nodes[0].ledger.slot
    assert replayed(world) == world.nodes[0].app_hash


def test_a_long_block_beside_short_ones_is_taken_back_whole_where_they_can_go_so_far() -> None:
    """A rollup with blocks of 60 slots beside one of 1: all go to a boundary of the long one while both can."""
    world = L1World(rollups=1, embedded=1, interval_s=2, block_times=(1, 60))
    grown(world, 171, 2)
    world.l1.reorganise(1, grow=1)
    world.report()
    world.step(100)
    assert {one.rollup_id: one.to_number for one in world.step(100).unwound} == {A: 119, B: 1}
    assert newest(world, A) == world.nodes[0].ledger.slot


def test_a_second_deeper_unwinding_stops_no_node(tmp_path: Path) -> None:
    """A rollup that went back and waits has a low head; what every node still holds is counted from the head that it
    had before, restarted nodes included."""
    every = 60
    world = L1World(rollups=1, embedded=1, validators=4, interval_s=every, hold_s=2 * every)
    paused(world, UNWIND_BLOCKS_MAX + 9 * every, every)
    grown(world, every, every)
    world.restart(1, tmp_path)
    back = (UNWIND_BLOCKS_MAX - 200) // every
    world.l1.reorganise(back, grow=1)
    world.report(facts=False)
    world.step(100)
    high = world.head(A)[0]
    assert world.step(100).unwound
    assert world.head(A)[0] < high - (back - 2) * every
    world.restart(2, tmp_path)
    state = world.state
    assert state.floor(A, world.nodes[0].ledger.rollups[0].head_number) == high - UNWIND_BLOCKS_MAX
    assert decode_ledger(encode_ledger(world.nodes[0].ledger)) == world.nodes[0].ledger
    world.l1.reorganise(back + 7, grow=1)
    world.report(facts=False)
    world.step(100)
    world.step(100)
    for _ in range(8):
        world.report()
        world.step()
    assert newest(world, B) == world.nodes[0].ledger.slot, "the others go on"
    assert replayed(world) == world.nodes[0].app_hash


@pytest.mark.parametrize(("blocks", "goes"), [(UNWIND_BLOCKS_MAX, True), (UNWIND_BLOCKS_MAX + 1, False)])
def test_every_node_goes_back_as_far_as_the_bound_and_not_further(tmp_path: Path, blocks: int, goes: bool) -> None:
    """At exactly the bound, a restarted node too."""
    every = 60
    world = L1World(rollups=1, validators=4, interval_s=every, hold_s=2 * every)
    paused(world, UNWIND_BLOCKS_MAX + 9 * every, every)
    head = world.head(A)[0]
    world.restart(3, tmp_path)
    record = world.nodes[0].ledger.rollups[0]
    wrong = next(one for one in record.epochs if one.first_block >= head - blocks + 1)
    while world.head(A)[0] - (wrong.first_block - 1) < blocks:
        world.step()
    depth = world.l1.head.number - wrong.origin.number + 1
    world.l1.reorganise(depth, grow=1)
    world.report()
    world.step(100)
    effect = world.step(100)
    assert bool(effect.unwound) is goes, (world.head(A), wrong.first_block)
    if goes:
        assert effect.unwound[0].last_lost - effect.unwound[0].to_number == blocks


@pytest.mark.parametrize(("limit", "deposit"), [(2**50, 2**49), (500_000_000, L1_DEPOSITS_GAS_MAX + 1)])
def test_contracts_that_ask_for_endless_gas_stop_their_own_rollup_only(limit: int, deposit: int) -> None:
    """A SystemConfig's owner names a gas limit, a deposit loops until it is used up: no block may take minutes."""
    world = L1World()
    world.step()
    update = UPDATE_GAS_LIMIT.to_bytes(32, "big") + limit.to_bytes(32, "big")
    world.l1.grow([Wish(rollup_id=A, to=Address(b"\x51" * 20), amount=1, gas=deposit)], {A: [update]})
    world.report()
    for _ in range(4):
        world.step()
    assert newest(world, A) < newest(world, B) == world.nodes[0].ledger.slot


def test_costly_deposits_of_a_long_pause_are_spread_over_several_heights() -> None:
    """One sub-block opens no further block once its deposits ask for much gas; all are made in the end."""
    world = L1World(rollups=1, interval_s=12, hold_s=30)
    world.step()
    for _ in range(20):
        world.l1.grow([Wish(rollup_id=A, to=Address(b"\x51" * 20), amount=1, gas=20_000_000)])
    world.report()
    world.step(240_000)
    grown_to = []
    for _ in range(8):
        world.report()
        world.step(100)
        grown_to.append(newest(world, A))
    assert all(after - before <= 12 * 6 for before, after in pairwise(grown_to))
    assert grown_to[-1] == world.nodes[0].ledger.slot
    session = world.nodes[0].rollups[A].session()
    assert session.accounts([b"\x51" * 20])[0][1] == 20


def test_a_validator_cannot_flood_the_others_with_reports_and_cannot_use_up_the_share_of_another() -> None:
    """Each report is signed and newer than the one before; only a few are taken between two decided sub-blocks."""
    world = L1World(validators=4)
    items = L1Items(world.parameters.network_id, l1_view(lambda: world.nodes[0].ledger))
    world.l1.grow()

    def said(place: int, sequence: int, seed: int) -> bytes:
        report = world.l1.report(world.keys[place], sequence, 101)
        return sign_report(world.parameters.network_id, report, world.seeds[seed])

    taken = [items.offer_report(said(0, sequence, 0)) for sequence in range(1, 50)]
    assert sum(taken) == L1_REPORTS_PER_HEIGHT_MAX
    for sequence in range(1, 50):
        with pytest.raises(ActionRefused):
            items.offer_report(said(1, sequence, 0))
    assert items.offer_report(said(1, 100, 1)), "forged reports take nothing from the key that they name"
    assert len(items.candidates()) == 2
    assert not items.offer_report(said(0, 60, 0))
    items.on_decided()
    assert items.offer_report(said(0, 61, 0))


def test_a_proposal_with_reports_after_facts_is_refused() -> None:
    """So a proposer cannot have the agreed chain searched again for every report."""
    world = L1World(validators=4)
    world.step()
    for _ in range(2):
        world.l1.grow()
    world.report([0, 1, 2])
    late = world.l1.report(world.keys[3], 9, 101)
    world.items.append(sign_report(world.parameters.network_id, late, world.seeds[3]))
    world.step()
    assert world.state.head.number == 102
    assert [one.public_key for one in world.state.reports] == sorted(world.keys[:3])
