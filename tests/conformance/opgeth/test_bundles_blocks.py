"""Blocks with bundles and relayed messages over two or three rollups are valid for op-geth, with equal hashes, and the
independent checker accepts every message in them, as read from op-geth's own answers.

One unmodified op-geth per rollup executes every block that Plait's application built, re-executed and committed. It
knows neither bundles nor messages; what it confirms is that a rolled back bundle left nothing and that an applied one
is an ordinary part of an ordinary block.
More: PLAIT_OPGETH_SEEDS="4,5" PLAIT_OPGETH_HEIGHTS=2000 pytest tests/conformance/opgeth/test_bundles_blocks.py
Soak: PLAIT_OPGETH_SOAK=600 plays seeds from the first one on for that many seconds.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from opgeth_node import OpGeth, can_build

from plait.types import RollupId
from tests.conformance.messages.bundled_rollups import BundledRollups
from tests.conformance.messages.checker import judge
from tests.conformance.messages.reading import read_json

pytestmark = [pytest.mark.opgeth, pytest.mark.slow]

HEIGHTS = int(os.environ.get("PLAIT_OPGETH_HEIGHTS", "120"))
SEEDS = [int(text) for text in os.environ.get("PLAIT_OPGETH_SEEDS", "1,2").split(",")]
SOAK_SECONDS = int(os.environ.get("PLAIT_OPGETH_SOAK", "0"))
INSERT_EVERY = 20


@pytest.fixture(autouse=True)
def _needs_op_geth() -> None:
    if not can_build():
        if os.environ.get("CI"):
            pytest.fail("CI must have Go to build op-geth, and has not")
        pytest.skip("op-geth is not in the cache and Go is not installed to build it")


class Nodes:
    """One op-geth per rollup of a world, following it."""

    def __init__(self, world: BundledRollups, directory: Path, open_nodes: ExitStack) -> None:
        self.world = world
        self.nodes = {
            rollup_id: open_nodes.enter_context(OpGeth(world.genesis[rollup_id], directory / str(rollup_id)))
            for rollup_id in world.ids
        }
        self.inserted: dict[RollupId, int] = dict.fromkeys(world.ids, 0)
        for rollup_id, node in self.nodes.items():
            genesis = node.eth.call("eth_getBlockByNumber", "0x0", False)
            ours = "0x" + world.judge.rollups[rollup_id].genesis_hash.hex()
            assert genesis["hash"] == ours, f"rollup {rollup_id}: genesis differs"

    def follow(self, where: str) -> None:
        """Every sealed block is VALID, and the last one becomes the head."""
        for rollup_id, node in self.nodes.items():
            rollup = self.world.judge.rollups[rollup_id]
            for number in range(self.inserted[rollup_id] + 1, rollup.head.number + 1):
                payload, beacon_root = rollup.execution_payload_json(number)
                status = node.insert(payload, beacon_root, 4)
                assert status["status"] == "VALID", f"rollup {rollup_id} block {number}: {status}\n{where}"
                self.inserted[rollup_id] = number
            if rollup.head.number:
                node.adopt(rollup.head.hash)

    def check_messages(self, where: str) -> None:
        """The checker accepts what op-geth answers about all blocks."""
        blocks = []
        for rollup_id, node in self.nodes.items():
            for number in range(1, self.inserted[rollup_id] + 1):
                block = node.eth.call("eth_getBlockByNumber", hex(number), True)
                blocks.append(read_json(rollup_id, block, node.eth.call("eth_getBlockReceipts", hex(number))))
        newest = min(max(block.timestamp for block in blocks if block.chain_id == i) for i in self.world.ids)
        judged = [block for block in blocks if block.timestamp <= newest]
        assert {block[:3] for block in judged} == {block[:3] for block in self.world.blocks()}
        assert judge(self.world.chains(), judged) == [], where


def play(seed: int, directory: Path) -> BundledRollups:
    """Plays a seed to its end."""
    where = (
        f"replay: PLAIT_OPGETH_SEEDS={seed} PLAIT_OPGETH_HEIGHTS={HEIGHTS} "
        f".venv/bin/pytest tests/conformance/opgeth/{Path(__file__).name}"
    )
    world = BundledRollups(seed)
    with ExitStack() as open_nodes:
        nodes = Nodes(world, directory, open_nodes)
        for height in range(1, HEIGHTS + 1):
            world.step()
            if height % INSERT_EVERY == 0:
                nodes.follow(where)
        world.step(5_000)
        nodes.follow(where)
        nodes.check_messages(where)
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_op_geth_accepts_blocks_with_bundles_and_messages(seed: int, tmp_path: Path) -> None:
    """Every block is VALID and every message valid; the run held enough bundles, failed and whole, and messages."""
    counts = play(seed, tmp_path).counts
    assert counts["bundles"] > HEIGHTS // 4, counts
    assert counts["messages sent"] > HEIGHTS // 4, counts
    assert any(name.startswith("failed bundle_leg_failed") for name in counts), counts


if SOAK_SECONDS:

    def test_soak(tmp_path: Path) -> None:
        """Seed after seed until the time is over."""
        end = time.monotonic() + SOAK_SECONDS
        seed = SEEDS[0]
        while time.monotonic() < end:
            world = play(seed, tmp_path / str(seed))
            print(f"seed {seed}: {dict(sorted(world.counts.items()))}")
            seed += 1
