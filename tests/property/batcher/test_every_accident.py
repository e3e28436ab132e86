"""Whatever happens to L1, its pool, the disk and the process: every block is posted, in order, once unless it was lost.

Each seed is a sequence of a hundred accidents on a simulated L1 with two rollups. A failure prints its seed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from simulated_l1 import SimulatedL1
from simulated_rollup import SimulatedRollup, read_inbox

from plait.errors import Unavailable
from plait.rollups.batcher.assembly import Format
from plait.rollups.batcher.journal import Journal
from plait.rollups.batcher.l1_sender import SenderSettings
from plait.rollups.batcher.l1_transactions import address_of_key
from plait.rollups.batcher.plan import PlanSettings
from plait.rollups.batcher.service import Batcher, BatcherTerms, PostedRollup
from plait.storage.files import Files
from plait.types import RollupId

KEY = bytes(range(1, 33))
ACTIONS = (
    ["seal"] * 6 + ["mine"] * 6 + ["step"] * 12 + ["time"] * 3
    + ["spike", "calm", "drop", "reorganise", "reorganise", "kill", "kill", "tear", "deaf", "hear", "idle", "unwind"]
)  # fmt: skip


class Crash(BaseException):
    """The process dies here."""


class TearingFiles(Files):
    """A disk under which the process dies at a chosen operation."""

    def __init__(self) -> None:
        self.left: int | None = None

    def _tick(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Crash

    def rename(self, source: Path, target: Path) -> None:
        self._tick()
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self._tick()
        super().remove(path)


class Quiet:
    def __init__(self, said: set[str]) -> None:
        self.said = said

    def info(self, event: str, **fields: Any) -> None:
        self.said.add(event)

    warning = info


class Run:
    """One seed's world."""

    def __init__(self, seed: int, directory: Path, *, foreign: bool = False) -> None:
        self.chance = Random(seed)
        self.address = address_of_key(KEY)
        self.l1 = SimulatedL1(seed, self.address)
        self.rollups = [SimulatedRollup(901, self.address), SimulatedRollup(902, self.address)]
        self.directory, self.files, self.now_s = directory, TearingFiles(), 1_000.0
        self.actions = [*ACTIONS, "foreign"] if foreign else ACTIONS
        self.said: set[str] = set()
        self.batcher = self.fresh()

    def fresh(self) -> Batcher:
        posted = {
            RollupId(one.chain_id): PostedRollup(
                rollup_id=RollupId(one.chain_id), blocks=one, config=one.config, batcher=self.address
            )
            for one in self.rollups
        }
        terms = BatcherTerms(
            format=Format(batch="singular", compression="zlib", transaction_bytes_max=900),
            plan=PlanSettings(age_max_s=3, target_bytes=2_000),
            sender=SenderSettings(bump_after_s=20, resend_after_s=5),
        )
        self.files.left = None
        return Batcher(
            lambda: posted, self.l1, Journal(self.directory, self.files), KEY, l1_chain_id=900, terms=terms,
            now_s=lambda: self.now_s, logger=Quiet(self.said),
        )  # fmt: skip

    async def step(self) -> None:
        try:
            await self.batcher.step()
        except Unavailable:
            pass
        except Crash:
            self.batcher = self.fresh()

    async def act(self) -> None:
        chance = self.chance
        match chance.choice(self.actions):
            case "seal":
                for rollup in self.rollups:
                    rollup.seal(chance.randrange(6))
                self.now_s += 1
            case "mine":
                self.l1.mine(chance.randrange(1, 4), room=chance.randrange(1, 5))
            case "step":
                await self.step()
            case "time":
                self.now_s += chance.choice([1, 7, 25])
            case "spike":
                self.l1.base_fee *= chance.choice([2, 3, 10])
            case "calm":
                self.l1.base_fee = 1_000
            case "drop":
                self.l1.drop_pool()
            case "reorganise":
                self.l1.reorganise(chance.randrange(1, 7), keep_transactions=chance.random() < 0.5)
            case "kill":
                self.batcher = self.fresh()
            case "tear":
                self.files.left = chance.randrange(6)
            case "deaf":
                self.l1.unavailable = 0.2
            case "hear":
                self.l1.unavailable = 0.0
            case "idle":
                self.l1.mine(60, room=0)
            case "unwind":
                self.unwind()
            case "foreign":
                self.l1.take_nonce()

    def unwind(self) -> None:
        """Only blocks that were never signed go: what L1 has can be undone by L1 alone."""
        for rollup in self.rollups:
            ranges = self.batcher.posted_ranges(RollupId(rollup.chain_id))
            settled = self.batcher.cursor(self.batcher._rollups()[RollupId(rollup.chain_id)])
            low = max([one.last for one in ranges] + [0 if settled is None else settled.number])
            high = min(one.head.number for one in self.rollups)
            rollup.unwind(self.chance.randrange(low, max(low, high) + 1))

    async def l1_costs(self) -> tuple[int, int]:
        """(wei, gas) of everything of the batcher's that L1 holds."""
        hashes = [one.hash for block in self.l1.blocks for one in block.transactions if one.data]
        found = [await self.l1.receipt(one) for one in hashes]
        assert None not in found
        return sum(one.cost_wei for one in found if one), sum(one.gas_used for one in found if one)

    async def finish(self) -> None:
        """Calm weather: everything has to arrive."""
        self.l1.unavailable, self.l1.base_fee, self.files.left = 0.0, 1_000, None
        for _ in range(120):
            self.now_s += 10
            self.batcher.flush()
            await self.step()
            self.l1.mine(1, room=8)
        await self.step()


async def spent(run: Run) -> tuple[int, int]:
    """(wei, gas) of all rollups, as the batcher counts."""
    costs = run.batcher.costs().values()
    return sum(one.wei for one in costs), sum(one.gas for one in costs)


def level(rollups: list[SimulatedRollup]) -> None:
    """Seals what the shorter one lacks: blocks go to L1 up to a common time."""
    highest = max(one.head.number for one in rollups)
    for one in rollups:
        while one.head.number < highest:
            one.seal(0)


@pytest.mark.parametrize("seed", range(30))
async def test_every_block_is_posted_once_and_in_order(seed: int, tmp_path: Path) -> None:
    run = Run(seed, tmp_path / "journal")
    for _ in range(100):
        await run.act()
    level(run.rollups)
    await run.finish()
    reading = read_inbox(run.l1, run.rollups)
    assert reading.reached == [one.head.number for one in run.rollups], f"seed {seed}"
    assert not list((tmp_path / "journal").glob("*.tx")), f"seed {seed}: what is final is forgotten"
    assert await spent(run) == await run.l1_costs(), f"seed {seed}: what L1 holds is counted once, whatever came"
    run.batcher = run.fresh()
    assert await spent(run) == await run.l1_costs(), f"seed {seed}: a restart forgets no costs"


@pytest.mark.parametrize("seed", range(100, 110))
async def test_another_program_with_the_key_costs_a_second_posting_and_no_block(seed: int, tmp_path: Path) -> None:
    run = Run(seed, tmp_path / "journal", foreign=True)
    for _ in range(100):
        await run.act()
    level(run.rollups)
    await run.finish()
    assert read_inbox(run.l1, run.rollups).reached == [one.head.number for one in run.rollups], f"seed {seed}"
    counted, paid = await spent(run), await run.l1_costs()
    assert counted <= paid, f"seed {seed}: nothing is counted twice"
    if "l1_history_lost" not in run.said:
        assert counted == paid, f"seed {seed}: what was void and is on L1 costs all the same"


@pytest.mark.parametrize("seed", range(200, 206))
async def test_without_losses_nothing_is_posted_twice(seed: int, tmp_path: Path) -> None:
    run = Run(seed, tmp_path / "journal")
    run.actions = [one for one in ACTIONS if one != "idle"]
    for _ in range(100):
        await run.act()
    level(run.rollups)
    await run.finish()
    reading = read_inbox(run.l1, run.rollups)
    assert reading.reached == [one.head.number for one in run.rollups], f"seed {seed}"
    assert reading.posted_again == 0, f"seed {seed}"
    shutil.rmtree(tmp_path / "journal")


async def test_rollups_that_name_another_batcher_are_not_posted_and_the_state_says_so(tmp_path: Path) -> None:
    run = Run(1, tmp_path / "journal")
    stranger = address_of_key(bytes(range(2, 34)))
    posted = {one: msgspec.structs.replace(rollup, batcher=stranger) for one, rollup in run.batcher._rollups().items()}
    run.batcher._rollups = lambda: posted
    for rollup in run.rollups:
        rollup.seal(3)
    run.batcher.flush()
    with pytest.raises(Unavailable, match=run.address.hex()) as refused:
        await run.batcher.step()
    assert refused.value.code == "batcher_not_authorized"
    assert not run.l1.pool
    one, other = posted
    posted[other] = msgspec.structs.replace(posted[other], batcher=run.address)
    run.batcher.flush()
    await run.batcher.step()
    assert len(run.l1.pool) == 1, "the one that names it is posted"
    assert [part.rollup_id for part in run.batcher._journal.postings()[0].ranges] == [other]
    assert one not in run.batcher.costs()
