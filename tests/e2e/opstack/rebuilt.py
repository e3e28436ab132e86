"""`plait derive` on a running network: what L1 alone says of a rollup, compared with a node's blocks."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

PLAIT = Path(sys.executable).with_name("plait")


async def rebuilt(home: Path, l1_url: str, beacon_url: str, compare_url: str) -> dict[str, Any]:
    """What the command prints as JSON; fails when the node has another block than L1 says.

    Args:
        home: directory with the rollup's genesis.json and rollup.json.
        l1_url, beacon_url: of L1.
        compare_url: of a node that has at least the blocks that are on L1.
    """
    process = await asyncio.create_subprocess_exec(
        str(PLAIT), "derive", "--l1", l1_url, "--beacon", beacon_url, "--rollup-config", str(home / "rollup.json"),
        "--genesis", str(home / "genesis.json"), "--compare", compare_url, "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, (out.decode(), err.decode())
    found: dict[str, Any] = json.loads(out)
    assert found["equal"], found
    return found
