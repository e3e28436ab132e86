"""A batcher that is killed at any moment posts every block, in order, with nothing left out."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batcher_world import L1_CHAIN_ID, Anvil, Chain, facts_at

from plait.l1.client import L1Client
from plait.node.settlement import FollowedRollup, Settlement
from plait.rollups.batcher.inbox import InboxReader
from plait.types import RollupId
from tests.peers.anvil import REPOSITORY

pytestmark = pytest.mark.node_js

BLOCKS = 8
CHILD = Path(__file__).with_name("child_batcher.py")


class Child:
    """The process; `kill` is SIGKILL."""

    def __init__(self, anvil: Anvil, directory: Path) -> None:
        command = [sys.executable, str(CHILD), anvil.url, str(directory), "1", str(BLOCKS)]
        environment = dict(os.environ) | {"PYTHONPATH": str(REPOSITORY)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)

    def wait_for(self, start: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return
        raise AssertionError(f"the child ended before it said {start!r}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def wait_until(what: str, ready: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)


async def derived(anvil: Anvil) -> list[int]:
    """How far derivation from L1 alone gets, on the rollups that the children post."""
    async with L1Client(anvil.url) as client:
        origin = await facts_at(client, 1)
        assert origin is not None
        chains = [Chain(901, origin), Chain(902, origin)]
        for chain in chains:
            await chain.grow(client, BLOCKS)
        followed = {
            RollupId(chain.chain_id): FollowedRollup(
                rollup_id=RollupId(chain.chain_id), native=chain.rollup, config=chain.config
            )
            for chain in chains
        }
        reader = InboxReader(client, l1_chain_id=L1_CHAIN_ID, bindings=lambda: [chain.config for chain in chains])
        settlement = Settlement(lambda: followed, reader)
        while await settlement.step():
            pass
        assert not settlement.conflicts()
        return [settlement.levels(one).posted for one in followed]  # type: ignore[union-attr]


async def mine_until_all_derives(anvil: Anvil, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    found: list[int] = []
    while found != [BLOCKS, BLOCKS]:
        assert time.monotonic() < deadline, f"only {found} of {BLOCKS} blocks derive"
        anvil.mine()
        await asyncio.sleep(0.1)
        found = await derived(anvil)


@pytest.mark.parametrize("moment", ["signed", "included"])
async def test_a_kill_between_transaction_and_receipt_leaves_no_gap(anvil: Anvil, tmp_path: Path, moment: str) -> None:
    anvil.mine(BLOCKS + 3)  # every origin is there before the first child looks, so all children build the same blocks
    journal = tmp_path / "journal"
    child = Child(anvil, journal)
    try:
        wait_until("a transaction in the journal", lambda: any(journal.glob("*.tx")))
        if moment == "included":
            wait_until("a transaction in L1's pool", lambda: anvil.call("txpool_status")["pending"] != "0x0")
            anvil.mine()
        child.kill()
        child = Child(anvil, journal)
        child.wait_for("sealed")
        await mine_until_all_derives(anvil)
    finally:
        child.kill()


@pytest.mark.slow
async def test_kills_at_random_moments_leave_no_gap(anvil: Anvil, tmp_path: Path) -> None:
    seed = int(os.environ.get("PLAIT_SEED", "7"))
    print(f"seed {seed}; replay: PLAIT_SEED={seed} pytest {__file__}")
    chance = random.Random(seed)
    anvil.mine(BLOCKS + 3)  # every origin is there before the first child looks, so all children build the same blocks
    journal = tmp_path / "journal"
    for _ in range(4):
        child = Child(anvil, journal)
        try:
            child.wait_for("posted")
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(chance.random() * 0.3)
                if chance.random() < 0.6:
                    anvil.mine()
        finally:
            child.kill()
    child = Child(anvil, journal)
    try:
        child.wait_for("sealed")
        await mine_until_all_derives(anvil)
    finally:
        child.kill()
