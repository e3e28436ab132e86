"""What Plait's own application builds out of bundles, pinned and mutual legs, paid, demanded and answered messages and
false declarations: the judge re-executes every proposal, a replay from the log agrees, and the independent checker
accepts every message of every block and refuses mutated ones.

More: PLAIT_MESSAGES_WORLDS=200 pytest tests/conformance/messages/test_application_histories.py
"""

from __future__ import annotations

import os
from random import Random

from plait.types import RollupId
from tests.conformance.messages.bundled_rollups import BundledRollups, Counts
from tests.conformance.messages.checker import judge, unmet_demands
from tests.conformance.messages.histories import History
from tests.conformance.messages.mutations import INVALID, spots

WORLDS = int(os.environ.get("PLAIT_MESSAGES_WORLDS", "4"))
HEIGHTS = 60
SEEN = (
    "bundles", "messages sent", "relayed or delivered", "mutual ee", "mutual ev", "mutual vv",
    "failed bundle_message_invalid message_cycle", "failed bundle_leg_failed reverted", "failed bundle_pin_missed",
    "dropped delivery_required", "dropped message_checksum_wrong", "not relayed relay_failed",
)  # fmt: skip


def test_every_message_of_built_blocks_is_valid_and_mutated_ones_are_not() -> None:
    """Over several worlds; each kind of message, failure and refusal occurs."""
    total = Counts()
    for seed in range(1, WORLDS + 1):
        world = BundledRollups(seed)
        for _ in range(HEIGHTS):
            world.step()
        world.step(5_000)
        world.replay()
        blocks = world.blocks()
        assert judge(world.chains(), blocks) == [], f"BundledRollups({seed})"
        assert unmet_demands(blocks) == [], f"BundledRollups({seed})"
        history = History(tuple(world.chains()), tuple(blocks))
        found = spots(history)
        for spot in Random(seed).sample(found, 2):
            for name, (mutation, rules) in INVALID.items():
                mutated = mutation(Random(seed), history, spot)
                if mutated is None:
                    continue
                broken = {
                    rule
                    for item in judge(mutated.chains, mutated.blocks)
                    if (item.chain_id, item.block_number) == (spot.block.chain_id, spot.block.number)
                    for rule in item.broken
                }
                assert broken & set(rules.split("|")), f"BundledRollups({seed}), {name}: {broken}"
        for name, count in world.counts.items():
            total.add(name, count)
        total.add("executed", len(found))
    missing = [name for name in SEEN if not total.get(name)]
    assert not missing, f"never happened: {missing} in {total}"
    assert total["executed"] > 20 * WORLDS
    print(f"\n{WORLDS} worlds: {dict(sorted(total.items()))}")


def test_equal_seeds_give_equal_worlds() -> None:
    """The world has no other source of choices than its seed."""
    hashes = []
    for _ in range(2):
        world = BundledRollups(3)
        for _ in range(12):
            world.step()
        hashes.append(world.proposer.app_hash)
    assert hashes[0] == hashes[1]


def test_the_cores_lookup_of_logs_is_what_the_raw_receipts_say() -> None:
    """Every log of every sealed block is found at its place, with the block's timestamp, and none beyond the last."""
    world = BundledRollups(2)
    for _ in range(HEIGHTS):
        world.step()
    found = 0
    for block in world.blocks():
        rollup = world.judge.rollups[RollupId(block.chain_id)]
        session = rollup.session()
        for index, log in enumerate(block.logs):
            expected = (block.timestamp, log.origin, list(log.topics), log.data)
            assert session.log(block.number, index) == rollup.log(block.number, index) == expected
            found += 1
        assert session.log(block.number, len(block.logs)) is None
    assert found > HEIGHTS
