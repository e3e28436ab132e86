"""The checker judges what the native core executed: random traffic over both bridges of two rollups, read from raw
blocks and receipts and again from their JSON. Everything is accepted; every mutation of it is refused.

More: PLAIT_MESSAGES_STEPS=2000 pytest tests/conformance/messages/test_core_histories.py
"""

from __future__ import annotations

import json
import os
from random import Random

import pytest

from plait.native import Rollup
from tests.conformance.messages.checker import Chain, judge
from tests.conformance.messages.histories import History
from tests.conformance.messages.mutations import INVALID, spots
from tests.conformance.messages.reading import Block, read_chain, read_json
from tests.unit.interop.message_traffic import Traffic
from tests.unit.interop.pair import GENESIS_S

STEPS = int(os.environ.get("PLAIT_MESSAGES_STEPS", "120"))


def raw_history(rollup: Rollup, chain_id: int) -> list[Block]:
    """All sealed blocks after genesis, from raw bytes."""
    numbers = range(1, rollup.head.number + 1)
    return read_chain(chain_id, [(rollup.raw_block(n) or b"", rollup.raw_receipts(n) or []) for n in numbers])


def json_history(rollup: Rollup, chain_id: int) -> list[Block]:
    """The same, from what the eth_* methods answer."""
    numbers = range(1, rollup.head.number + 1)
    pairs = [(rollup.block_json(number, True), rollup.block_receipts_json(number)) for number in numbers]
    return [read_json(chain_id, json.loads(block or b""), json.loads(receipts or b"")) for block, receipts in pairs]


def traffic_history(seed: int) -> History:
    """Two rollups' blocks after random traffic."""
    traffic = Traffic(seed)
    for _ in range(STEPS):
        traffic.step()
    traffic.advance()
    chains = []
    blocks: list[Block] = []
    for side in traffic.sides:
        side.rollup.commit(side.session)
        chains.append(Chain(side.chain_id, GENESIS_S, side.block_time_s))
        read = raw_history(side.rollup, side.chain_id)
        assert read == json_history(side.rollup, side.chain_id), "raw bytes and JSON say different things"
        blocks += read
    return History(tuple(chains), tuple(blocks))


@pytest.mark.parametrize("seed", [1, 2])
def test_traffic_of_the_core_is_accepted_and_mutations_of_it_are_refused(seed: int) -> None:
    """Every executing message is valid; of every kind of mutation that can be applied, the named rule breaks."""
    history = traffic_history(seed)
    assert judge(history.chains, history.blocks) == [], f"traffic_history({seed})"
    found = spots(history)
    assert len(found) > STEPS // 10, "too few messages to show anything"
    random = Random(seed)
    applied = set()
    for spot in random.sample(found, 4):
        for name, (mutation, rules) in INVALID.items():
            mutated = mutation(random, history, spot)
            if mutated is None:
                continue
            applied.add(name)
            here = (spot.block.chain_id, spot.block.number)
            bad = judge(mutated.chains, mutated.blocks)
            names = {rule for item in bad if (item.chain_id, item.block_number) == here for rule in item.broken}
            assert names & set(rules.split("|")), f"traffic_history({seed}), {name}: {names}"
    assert len(applied) > len(INVALID) - 5, f"never applied: {sorted(set(INVALID) - applied)}"
