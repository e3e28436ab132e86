"""Guarantee levels of what is sealed, in the words of the API. Level 7.

sealed -> posted (its batch is on L1) -> safe, finalized (L1's own)
"""

from collections.abc import Iterable
from typing import Any, Final

from plait.rpc.backend import Backend
from plait.types import RollupId

SEALED_LEVELS: Final = ("sealed", "posted", "safe", "finalized")


def sealed_level(backend: Backend, rollup_id: RollupId, number: int) -> str:
    """How far a sealed block is."""
    settlement = backend.settlement
    return (None if settlement is None else settlement.level_of(rollup_id, number)) or "sealed"


def lowest_level(levels: Iterable[str]) -> str:
    """The level that all of them have reached; `sealed` of none."""
    return min(levels, key=SEALED_LEVELS.index, default="sealed")


def l1_levels(backend: Backend, rollup_id: RollupId) -> dict[str, Any] | None:
    """The last block of each level of a rollup; None where it derives from no L1."""
    levels = None if backend.settlement is None else backend.settlement.levels(rollup_id)
    if levels is None:
        return None
    return {"posted": levels.posted, "safe": levels.safe, "finalized": levels.finalized}
