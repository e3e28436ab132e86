"""How far every rollup of a local network has come, as Plait says and as a verifier derives it, and whether they agree.

    unsafe     Plait: sealed in a block; verifier: the newest block that it holds
    safe       derived from batches that are on L1
    finalized  the same from finalized L1 blocks
Where both sides name a block at a level, they agree there when Plait's node has the verifier's hash at the verifier's
number: the verifier knows nothing but L1, so equal hashes say that anybody derives Plait's blocks.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

import msgspec

from plait.client import Client, NodeUnreachable, RpcError
from plait.limits import OPSTACK_ASK_TIMEOUT_S

Level = Literal["unsafe", "safe", "finalized"]
LEVELS: Final[tuple[Level, ...]] = ("unsafe", "safe", "finalized")
_TAGS: Final[dict[Level, str]] = {"unsafe": "latest", "safe": "safe", "finalized": "finalized"}


class Head(msgspec.Struct, frozen=True):
    """A block by number and hash (0x hex)."""

    number: int
    hash: str


class LevelHeads(msgspec.Struct, frozen=True, kw_only=True):
    """One level of one rollup. `agree` is None where one side does not answer or has nothing there."""

    plait: Head | None
    engine: Head | None
    verifier: Head | None
    agree: bool | None


class RollupHeads(msgspec.Struct, frozen=True, kw_only=True):
    """One rollup. `origin` is the L1 block up to which the verifier has derived."""

    chain_id: int
    levels: dict[str, LevelHeads]
    origin: int | None

    @property
    def agree(self) -> bool | None:
        """False when the sides differ anywhere, True when they were compared at a safe block and are equal."""
        found = [level.agree for level in self.levels.values()]
        if False in found:
            return False
        return True if self.levels["safe"].agree else None


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where one rollup is asked."""

    chain_id: int
    plait: str
    engine: str
    verifier: str
    op_node: str


async def heads_of(endpoints: Endpoints) -> RollupHeads:
    """Asks both sides of a rollup. Who does not answer has no heads."""
    plait, engine, verifier = await asyncio.gather(
        _tagged(endpoints.plait), _tagged(endpoints.engine), _derived(endpoints.op_node)
    )
    derived, origin = verifier
    levels: dict[str, LevelHeads] = {}
    for level in LEVELS:
        seen = derived.get(level)
        agree = None
        if seen is not None and (plait.get("unsafe") or Head(-1, "")).number >= seen.number:
            own = await _hash_at(endpoints.plait, seen.number)
            agree = None if own is None else own == seen.hash
        levels[level] = LevelHeads(plait=plait.get(level), engine=engine.get(level), verifier=seen, agree=agree)
    return RollupHeads(chain_id=endpoints.chain_id, levels=levels, origin=origin)


async def head_number(url: str) -> int | None:
    """Newest block of an Ethereum RPC; None when it does not answer."""
    try:
        async with Client(url, timeout_s=OPSTACK_ASK_TIMEOUT_S) as client:
            return int(await client.call("eth_blockNumber"), 16)
    except (NodeUnreachable, RpcError, TypeError, ValueError):
        return None


async def _tagged(url: str) -> dict[Level, Head]:
    """Heads by the tags of an Ethereum RPC; a tag without a block is left out."""
    found: dict[Level, Head] = {}
    try:
        async with Client(url, timeout_s=OPSTACK_ASK_TIMEOUT_S) as client:
            answers = await client.batch([("eth_getBlockByNumber", (_TAGS[level], False)) for level in LEVELS])
    except (NodeUnreachable, RpcError):
        return found
    for level, block in zip(LEVELS, answers, strict=True):
        if isinstance(block, dict):
            found[level] = Head(int(block["number"], 16), block["hash"])
    return found


async def _derived(url: str) -> tuple[dict[Level, Head], int | None]:
    """What op-node has derived, and up to which L1 block."""
    try:
        async with Client(url, timeout_s=OPSTACK_ASK_TIMEOUT_S) as client:
            status: dict[str, Any] = await client.call("optimism_syncStatus")
        heads = {level: Head(int(status[f"{level}_l2"]["number"]), status[f"{level}_l2"]["hash"]) for level in LEVELS}
        return heads, int(status["current_l1"]["number"])
    except (NodeUnreachable, RpcError, KeyError, TypeError, ValueError):
        return {}, None


async def _hash_at(url: str, number: int) -> str | None:
    try:
        async with Client(url, timeout_s=OPSTACK_ASK_TIMEOUT_S) as client:
            block = await client.call("eth_getBlockByNumber", hex(number), False)
    except (NodeUnreachable, RpcError):
        return None
    return None if block is None else str(block["hash"])


__all__ = ["LEVELS", "Endpoints", "Head", "Level", "LevelHeads", "RollupHeads", "head_number", "heads_of"]
