"""G: settlement on L1, as far as one process shows it. The other ids of the group are played with real programs."""

from __future__ import annotations

import pytest

from plait.limits import L1_REORG_BLOCKS_MAX
from plait.types import BlockNumber, Hash32, RollupId
from plait.types.l1 import RollupConflict, RollupSafe
from sim.l1_world import L1World
from tests.scenarios.test_f_rollups import A, B, bundle_of, nonce, offered

EVERY = 4
"""Slots from one bundle to the next."""


class Chains:
    """A world with blocks of one second on both, a bundle over A and B every few of them, and where each took place."""

    def __init__(self) -> None:
        self.world = L1World(validators=4, interval_s=1)
        self.taken: dict[int, tuple[bytes, bytes]] = {}
        """Transactions of each bundle on A and on B, by the number of its block, which is the same on both."""

    def go(self, slots: int) -> None:
        """So many slots, each with an L1 block."""
        for _ in range(slots):
            self.world.l1.grow()
            self.world.report()
            slot = self.world.nodes[0].info().slot
            if slot % EVERY:
                self.world.step()
                continue
            nonces = nonce(self.world, A), nonce(self.world, B)
            offer = bundle_of(self.world, nonces=nonces, value=1 + slot)
            assert offered(self.world, offer).effect.bundles
            block = self.world.nodes[0].rollups[A].open_block
            assert block is not None
            self.taken[block.number] = (offer.bundle.legs[0][0].hash, offer.bundle.legs[1][0].hash)

    def hashes(self, rollup_id: RollupId, last: int) -> list[bytes | None]:
        """Headers of a rollup's blocks up to one."""
        return [self.world.nodes[0].rollups[rollup_id].raw_header(number) for number in range(last + 1)]

    def kept(self) -> set[int]:
        """Blocks whose bundle is there, on A and on B and on every node; none is there in part."""
        found = set()
        for number, hashes in self.taken.items():
            there = {
                node.rollups[rollup_id].transaction_location(hash_) is not None
                for node in self.world.nodes
                for rollup_id, hash_ in zip((A, B), hashes, strict=True)
            }
            assert len(there) == 1, f"the bundle of block {number} is torn"
            if there == {True}:
                found.add(number)
        return found


@pytest.mark.parametrize("depth", [1, 7, L1_REORG_BLOCKS_MAX - 1, L1_REORG_BLOCKS_MAX + 40])
def test_g06_a_reorganised_l1_takes_bundles_back_whole_and_only_so_far(depth: int) -> None:
    """L1 takes back 1, 7, as many blocks as it may, and many more => the bundles of the blocks that lose their origin
    are gone from both rollups, those before stay on both with the same block hashes; further than L1_REORG_BLOCKS_MAX
    behind the rollups' origin nothing is ever taken back."""
    chains = Chains()
    chains.go(L1_REORG_BLOCKS_MAX + 60)
    world = chains.world
    head = min(world.head(A)[0], world.head(B)[0])
    before = {one: chains.hashes(one, head) for one in (A, B)}
    origins = {epoch.first_block: epoch.origin.number for epoch in world.nodes[0].ledger.rollups[0].epochs}
    oldest = world.state.blocks[0].number
    assert chains.kept() == set(chains.taken)

    world.l1.reorganise(depth, grow=1)
    lost_from = max(world.l1.head.number - depth, oldest + 1)
    world.report()
    world.step(100)
    world.step(100)
    first_lost = min((number for number, origin in origins.items() if origin >= lost_from), default=head + 2)
    stays = {number for number in chains.taken if number < first_lost}
    kept = chains.kept()
    assert kept <= stays
    assert max(stays, default=0) - max(kept, default=0) <= EVERY, "no more goes than has to"
    for one in (A, B):
        assert chains.hashes(one, max(kept)) == before[one][: max(kept) + 1]
    if depth > L1_REORG_BLOCKS_MAX:
        assert 0 <= head - max(kept) <= L1_REORG_BLOCKS_MAX + 2 * EVERY, "it is bounded"
        assert kept, "and there is something beyond the bound"


def test_g06_what_is_safe_on_l1_bounds_how_far_a_conflict_reaches() -> None:
    """L1 derives an early block otherwise, while more is safe on both rollups => bundles up to the safe blocks stay on
    both, those after are gone from both."""
    chains = Chains()
    chains.go(40)
    world = chains.world
    assert chains.kept() == set(chains.taken)
    head = world.head(A)[0]
    safe = head - 10
    conflict = RollupConflict(A, BlockNumber(head - 30), Hash32(b"\xee" * 32))
    world.report(conflicts=[conflict], safe=[RollupSafe(one, BlockNumber(safe)) for one in (A, B)])
    effects = [world.step(100), world.step(100)]
    assert {one.rollup_id: one.to_number for effect in effects for one in effect.unwound} == {A: safe, B: safe}
    assert chains.kept() == {number for number in chains.taken if number <= safe}
    before = len(chains.kept())
    chains.go(2 * EVERY)
    assert len(chains.kept()) == before + 2, "bundles are taken again"
