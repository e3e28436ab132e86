"""Blocks that send and execute messages between two rollups are valid for op-geth, with equal hashes.

One unmodified op-geth per rollup executes every block itself. It knows nothing of messages; what it confirms is their
execution: warm and cold slots, transient storage, contracts that pay out and destroy themselves, gas.
More: PLAIT_OPGETH_SEEDS="4,5" PLAIT_OPGETH_BLOCKS=1000 pytest tests/conformance/opgeth/test_interop_blocks.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from opgeth_node import OpGeth, can_build

from tests.unit.interop.message_traffic import Traffic

pytestmark = [pytest.mark.opgeth, pytest.mark.slow]

ROUNDS = int(os.environ.get("PLAIT_OPGETH_BLOCKS", "30"))
SEEDS = [int(text) for text in os.environ.get("PLAIT_OPGETH_SEEDS", "1").split(",")]
STEPS_PER_ROUND = 12


@pytest.fixture(autouse=True)
def _needs_op_geth() -> None:
    if not can_build():
        if os.environ.get("CI"):
            pytest.fail("CI must have Go to build op-geth, and has not")
        pytest.skip("op-geth is not in the cache and Go is not installed to build it")


@pytest.mark.parametrize("seed", SEEDS)
def test_op_geth_accepts_blocks_with_messages(seed: int, tmp_path: Path) -> None:
    """Both genesis hashes are equal, and every sealed block of both rollups is VALID."""
    traffic = Traffic(seed)
    with OpGeth(traffic.pair.a.genesis, tmp_path / "a") as a, OpGeth(traffic.pair.b.genesis, tmp_path / "b") as b:
        nodes = list(zip(traffic.sides, (a, b), strict=True))
        for side, node in nodes:
            genesis = node.eth.call("eth_getBlockByNumber", "0x0", False)
            assert genesis["hash"] == "0x" + side.rollup.genesis_hash.hex(), f"rollup {side.chain_id}: genesis differs"
        inserted = dict.fromkeys((side.chain_id for side in traffic.sides), 0)
        for _ in range(ROUNDS):
            for _ in range(STEPS_PER_ROUND):
                traffic.step()
            traffic.advance()
            for side, node in nodes:
                side.rollup.commit(side.session)
                while inserted[side.chain_id] < side.rollup.head.number:
                    number = inserted[side.chain_id] + 1
                    payload, beacon_root = side.rollup.execution_payload_json(number)
                    status = node.insert(payload, beacon_root, 4)
                    replay = f"PLAIT_OPGETH_SEEDS={seed} .venv/bin/pytest {Path(__file__).name}"
                    assert status["status"] == "VALID", f"rollup {side.chain_id} block {number}: {status}; {replay}"
                    inserted[side.chain_id] = number
                node.adopt(side.rollup.head.hash)
        assert len(traffic.landed) > ROUNDS, "too few messages were relayed to show anything"
        assert traffic.paid > 0, "no fee was claimed: the seed shows nothing of it"
