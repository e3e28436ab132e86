"""Which of our blocks several boost faces may answer together: never the half of a bundle.

A network's block of one rollup may need blocks of other rollups: a bundle's legs need each other, a transaction that
executes a message needs the block that sent it. Every face decides between our block and its engine's own. If one took
ours and another its engine's, a bundle would stand on one rollup alone. So they agree first:
    ready   the face was asked for this block, its engine found it VALID, and it waits
    taken   the face answers it; what it needs was ready or taken too. One that is bound to another block, needed or
            needing, is never given up again
    lost    the face answered its engine's own at this height, or a later block of ours no longer fits
    A set of ready blocks is taken as a whole when everything that its members need is in it, taken already, or on a
    rollup that no face stands before (its blocks are decided, and no other ones can come).
Pure: no clock; who waits bounds the waiting. Level 5.
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from plait.types import BlockNumber, RollupId

BlockKey: TypeAlias = tuple[RollupId, BlockNumber]
_KEPT: Final = 256
"""Blocks of a rollup whose fate is remembered beside the highest that its engine adopted."""


class Agreement:
    """The faces of one node. Every face reports; `listen` is called whenever something was taken or lost."""

    def __init__(self, rollups: Iterable[RollupId]) -> None:
        self._rollups = frozenset(rollups)
        self._ready: dict[BlockKey, frozenset[BlockKey]] = {}
        self._taken: dict[BlockKey, frozenset[BlockKey]] = {}
        self._adopted: dict[RollupId, int] = {}
        self._lost_from: dict[RollupId, int] = {}
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Also calls `listener` after a change."""
        self._listeners.append(listener)

    def ready(self, key: BlockKey, needs: frozenset[BlockKey]) -> None:
        """A face may answer this block, if what it needs is answered too."""
        self._ready[key] = needs - {key}
        if self._lost_from.get(key[0], key[1] + 1) <= key[1]:
            del self._lost_from[key[0]]  # asked for again: what was answered before was not adopted
        self._settle()

    def withdraw(self, key: BlockKey) -> None:
        """A face does not answer our block at this height; nor can it answer any of ours above. Not for bound ones."""
        self._ready.pop(key, None)
        self._taken.pop(key, None)
        rollup_id, number = key
        self._lost_from[rollup_id] = min(self._lost_from.get(rollup_id, number), number)
        self._tell()

    def adopted(self, rollup_id: RollupId, number: BlockNumber) -> None:
        """The rollup's engine has our block of this height as its head: everything up to it took place."""
        self._adopted[rollup_id] = number
        if self._lost_from.get(rollup_id, number + 1) <= number:
            del self._lost_from[rollup_id]
        self._taken = {
            key: needs for key, needs in self._taken.items() if key[0] != rollup_id or key[1] > number - _KEPT
        }
        self._settle()

    def reset(self, rollup_id: RollupId, number: BlockNumber) -> None:
        """Our blocks above `number` were replaced: what was said of them is void."""
        self._ready = {key: needs for key, needs in self._ready.items() if key[0] != rollup_id or key[1] <= number}
        self._taken = {key: needs for key, needs in self._taken.items() if key[0] != rollup_id or key[1] <= number}
        self._lost_from.pop(rollup_id, None)
        self._adopted[rollup_id] = min(self._adopted.get(rollup_id, 0), number)

    def is_taken(self, key: BlockKey) -> bool:
        """Whether the face has to answer our block."""
        return key in self._taken

    def is_bound(self, key: BlockKey) -> bool:
        """Whether it is taken together with blocks of other rollups."""
        needs = self._taken.get(key)
        return needs is not None and (bool(needs) or any(key in others for others in self._taken.values()))

    def is_hopeless(self, needs: frozenset[BlockKey]) -> bool:
        """Whether something needed is lost for good."""
        return any(number >= self._lost_from.get(rollup_id, number + 1) for rollup_id, number in needs)

    def _settle(self) -> None:
        """Takes the largest set of ready blocks that needs nothing outside of it."""
        chosen = set(self._ready)
        while True:
            outside = {key for key in chosen if not all(self._stands(need, chosen) for need in self._ready[key])}
            if not outside:
                break
            chosen -= outside
        for key in chosen:
            self._taken[key] = self._ready.pop(key)
        self._tell()

    def _stands(self, need: BlockKey, chosen: set[BlockKey]) -> bool:
        rollup_id, number = need
        if rollup_id not in self._rollups or number <= self._adopted.get(rollup_id, 0):
            return True
        return need in self._taken or need in chosen

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
