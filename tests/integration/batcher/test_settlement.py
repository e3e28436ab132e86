"""On a real anvil, everything that is posted derives to our blocks, through every accident of L1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batcher_world import BATCHER, L1_CHAIN_ID, Anvil, Chain, facts_at, make_batcher

from plait.errors import Unavailable
from plait.l1.client import L1Client
from plait.node.settlement import FollowedRollup, Settlement
from plait.rollups.batcher.assembly import Format
from plait.rollups.batcher.client_access import ClientAccess
from plait.rollups.batcher.inbox import InboxReader
from plait.rollups.batcher.l1_sender import SenderSettings
from plait.rollups.batcher.service import Batcher, BatcherTerms
from plait.types import Hash32, RollupId

pytestmark = pytest.mark.node_js

IMPATIENT = SenderSettings(bump_after_s=3_600, resend_after_s=0)


class World:
    """Two rollups, a batcher and the settlement view on one anvil."""

    def __init__(
        self, anvil: Anvil, client: L1Client, chains: list[Chain], terms: BatcherTerms, directory: Path
    ) -> None:
        self.anvil, self.client, self.chains, self.terms, self.directory = anvil, client, chains, terms, directory
        self.settlement = self.fresh_settlement()
        self.batcher = self.fresh_batcher()

    def fresh_settlement(self, directory: Path | None = None) -> Settlement:
        followed = {
            RollupId(chain.chain_id): FollowedRollup(
                rollup_id=RollupId(chain.chain_id), native=chain.rollup, config=chain.config
            )
            for chain in self.chains
        }
        reader = InboxReader(
            self.client,
            l1_chain_id=L1_CHAIN_ID,
            bindings=lambda: [chain.config for chain in self.chains],
            own_blobs=self.blobs,
        )
        return Settlement(lambda: followed, reader, directory=directory or self.directory / "settlement")

    def fresh_batcher(self) -> Batcher:
        return make_batcher(
            ClientAccess(self.client),
            self.chains,
            self.terms,
            directory=self.directory / "journal",
            floor=self.settlement.floor,
        )

    def blobs(self) -> dict[Hash32, bytes]:
        return self.batcher.own_blobs()

    async def settle(self) -> None:
        while await self.settlement.step():
            pass

    async def turn(self, grow: int = 0, mine: int = 1) -> None:
        """Rollups grow, the batcher posts, L1 mines, both look."""
        for chain in self.chains:
            await chain.grow(self.client, grow)
        await self.settle()
        self.batcher.flush()
        await self.post()
        self.anvil.mine(mine)
        await self.post()
        await self.settle()

    async def post(self) -> None:
        """A step of the batcher, again while L1 does not answer in time, as its task does."""
        for _ in range(10):
            try:
                await self.batcher.step()
            except Unavailable as error:
                if error.code != "l1_unreachable":
                    raise
            else:
                return
        raise AssertionError("L1 does not answer")

    def levels(self) -> list[tuple[int, int, int]]:
        found = [self.settlement.levels(RollupId(chain.chain_id)) for chain in self.chains]
        return [(one.posted, one.safe, one.finalized) for one in found if one is not None]

    def heads(self) -> list[int]:
        return [chain.rollup.head.number for chain in self.chains]

    def posted(self) -> list[int]:
        return [one[0] for one in self.levels()]


Begin = Callable[..., Any]


@pytest.fixture
def begin(anvil: Anvil, client: L1Client, tmp_path: Path) -> Begin:
    async def made(**options: Any) -> World:
        window = options.pop("seq_window", 3_600)
        anvil.mine(3)
        origin = await facts_at(client, 1)
        assert origin is not None
        chains = [Chain(901, origin, seq_window=window), Chain(902, origin, seq_window=window)]
        terms = BatcherTerms(format=Format(**options), sender=IMPATIENT)
        return World(anvil, client, chains, terms, tmp_path)

    return made


@pytest.mark.parametrize(
    ("batch", "compression", "carrier"),
    [("span", "brotli", "calldata"), ("singular", "zlib", "calldata"), ("span", "zlib", "blob")],
)
async def test_every_block_becomes_posted_safe_and_final(
    begin: Begin, batch: str, compression: str, carrier: str
) -> None:
    world = await begin(batch=batch, compression=compression, carrier=carrier)
    for _ in range(4):
        await world.turn(grow=3)
    assert world.posted() == world.heads() == [12, 12]
    assert not world.settlement.conflicts()
    world.anvil.mine(20)
    await world.settle()
    assert world.levels() == [(12, 12, 12)] * 2
    again = world.fresh_settlement(world.directory / "settlement")
    while await again.step():
        pass
    assert again.levels(RollupId(901)) == world.settlement.levels(RollupId(901)), (
        "a restart reads on from what is final"
    )


async def test_a_reorganisation_of_five_blocks_loses_nothing(begin: Begin) -> None:
    world = await begin()
    world.anvil.mine(12)  # the rollups' origins stay further behind than the reorganisation reaches
    for _ in range(4):
        await world.turn(grow=1, mine=2)
    assert world.posted() == world.heads() == [4, 4]
    nonce = world.anvil.nonce()
    world.anvil.reorganise(5)
    assert world.anvil.nonce() < nonce, "the reorganisation dropped batches"
    await world.settle()
    assert max(world.posted()) < 4
    await world.turn()
    await world.turn()
    assert world.posted() == world.heads() == [4, 4], "the same transactions were sent again"
    assert world.anvil.nonce() == nonce


async def test_blocks_whose_origin_is_gone_are_not_posted(begin: Begin) -> None:
    world = await begin()
    await world.turn(grow=8, mine=8)
    assert world.posted() == [8, 8]
    origin = world.chains[0].origin.block
    world.anvil.reorganise(world.anvil.number() - origin.number + 1)
    nonce = world.anvil.nonce()
    for _ in range(3):
        await world.turn()
    assert max(world.posted()) < 8
    floor = world.settlement.floor(RollupId(901))
    assert floor is not None
    assert floor.blocked
    assert world.anvil.nonce() == nonce + 1, "what was signed goes out again; nothing new is built on a lost origin"


async def test_a_new_batcher_without_a_memory_goes_on_where_l1_is(begin: Begin) -> None:
    world = await begin()
    await world.turn(grow=4)
    assert world.posted() == [4, 4]
    world.directory = world.directory / "elsewhere"
    world.batcher = world.fresh_batcher()
    await world.turn(grow=2)
    assert world.posted() == [6, 6]
    ranges = [(one.first, one.last) for one in world.batcher.posted_ranges(RollupId(901))]
    assert ranges == [(5, 6)], "what L1 has is not posted again"


async def test_restarts_of_l1_and_of_the_batcher_lose_nothing(begin: Begin) -> None:
    world = await begin()
    await world.turn(grow=3)
    for chain in world.chains:
        await chain.grow(world.client, 2)
    world.batcher.flush()
    await world.batcher.step()
    world.anvil.restart()  # what was in its pool is gone
    world.batcher = world.fresh_batcher()
    await world.turn(grow=1)
    await world.turn()
    assert world.posted() == world.heads() == [6, 6]
    assert world.anvil.nonce(BATCHER.address) == 3


async def test_an_expired_sequencing_window_is_a_conflict_with_the_derived_hash(begin: Begin) -> None:
    world = await begin(seq_window=6)
    await world.turn(grow=2)
    for chain in world.chains:
        await chain.grow(world.client, 3)
    world.anvil.mine(12)
    await world.settle()
    conflicts = world.settlement.conflicts()
    assert [(one.rollup_id, one.number, one.cause) for one in conflicts] == [(901, 3, "window"), (902, 3, "window")]
    assert all(one.derived_hash not in (None, one.our_hash) for one in conflicts)
    assert world.posted() == [2, 2]
    assert world.settlement.conflict_reports()[0].hash == conflicts[0].derived_hash


class Pruned:
    """A rollup of which only the newest blocks are held, as on a node that came from a snapshot."""

    def __init__(self, rollup: Any, lowest: int) -> None:
        self._rollup, self._lowest = rollup, lowest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rollup, name)

    def raw_block(self, at: int) -> bytes | None:
        return self._rollup.raw_block(at) if at == 0 or at >= self._lowest else None

    def raw_header(self, at: int) -> bytes | None:
        return self._rollup.raw_header(at) if at == 0 or at >= self._lowest else None


async def test_a_node_without_the_first_blocks_follows_from_the_oldest_that_it_holds(begin: Begin) -> None:
    world = await begin()
    world.anvil.mine(80)
    for _ in range(3):
        await world.turn(grow=30)
    assert world.posted() == world.heads() == [90, 90]
    for chain in world.chains:
        chain.rollup = Pruned(chain.rollup, 20)
    again = world.fresh_settlement(world.directory / "elsewhere")
    while await again.step():
        pass
    assert not again.conflicts()
    assert [again.levels(RollupId(chain.chain_id)).posted for chain in world.chains] == [90, 90]
