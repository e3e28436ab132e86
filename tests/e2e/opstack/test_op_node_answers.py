"""Plait's answers in op-node's shapes against an unmodified op-node that derived the same blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from running_opstack import call, running_opstack

from plait.derivation.output_roots import super_root_v1
from plait.types import ChainId, Hash32, Seconds

pytestmark = [pytest.mark.slow, pytest.mark.opgeth, pytest.mark.node_js]


async def test_tools_get_from_plait_what_op_node_says(tmp_path: Path) -> None:
    async with running_opstack(tmp_path / "net") as network:
        await network.heads_reach(8, 60)
        await network.require_derived(seconds=40)
        outputs: list[tuple[ChainId, Hash32]] = []
        timestamp = 0
        for rollup in network.rollups:
            ours, theirs = rollup["plaitUrl"], rollup["op_nodeUrl"]
            number = (await call(theirs, "optimism_syncStatus"))["safe_l2"]["number"]
            assert number >= 5
            for at in (0, 1, 5):
                mine = await call(ours, "optimism_outputAtBlock", hex(at))
                other = await call(theirs, "optimism_outputAtBlock", hex(at))
                assert without(mine, "syncStatus") == without(other, "syncStatus"), at
            mine, other = [await call(url, "optimism_syncStatus") for url in (ours, theirs)]
            assert shape(mine) == shape(other)
            assert mine["safe_l2"] == await reference(ours, mine["safe_l2"]["number"])
            assert mine["safe_l2"]["l1origin"]["number"] <= mine["head_l1"]["number"]
            config = await call(theirs, "optimism_rollupConfig")
            assert await call(ours, "optimism_rollupConfig") == config
            block = await call(ours, "optimism_outputAtBlock", "0x5")
            timestamp = max(timestamp, block["blockRef"]["timestamp"])
            outputs.append((ChainId(rollup["chainId"]), Hash32(bytes.fromhex(block["outputRoot"][2:]))))
        found = await call(network.plait_url, "superroot_atTimestamp", hex(timestamp))
        assert found["data"]["super_root"] == "0x" + super_root_v1(Seconds(timestamp), outputs).hex()


async def reference(url: str, number: int) -> dict[str, Any]:
    found: dict[str, Any] = (await call(url, "optimism_outputAtBlock", hex(number)))["blockRef"]
    return found


def without(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != name}


def shape(value: dict[str, Any]) -> dict[str, Any]:
    """Names and kinds, without values."""
    return {
        name: shape(item) if isinstance(item, dict) else type(item).__name__ for name, item in sorted(value.items())
    }
