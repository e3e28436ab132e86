"""Pauses between the conflicts of one rollup that take all rollups back. Level 3, pure.

Who holds a rollup's batcher key can have L1 derive other blocks than the network decided, as often as it likes, and an
agreed conflict takes every rollup back. So after CONFLICTS_UNPAUSED were carried out the same rollup's next conflict
waits CONFLICT_PAUSE_SLOTS slots, after each further one twice as long, CONFLICT_PAUSE_SLOTS_MAX at most; a quiet time
of CONFLICT_QUIET_SLOTS ends that. While a conflict waits its rollup takes no items: they would be lost.
"""

from collections.abc import Collection, Mapping

import msgspec

from plait.ledger.l1 import L1State, Pause
from plait.limits import CONFLICT_PAUSE_SLOTS, CONFLICT_PAUSE_SLOTS_MAX, CONFLICT_QUIET_SLOTS, CONFLICTS_UNPAUSED
from plait.types import BlockNumber, RollupId, Slot


def due_conflicts(state: L1State, agreed: Mapping[RollupId, BlockNumber], slot: Slot) -> dict[RollupId, BlockNumber]:
    """Agreed conflicts that may be carried out in a slot."""
    pauses = {one.rollup_id: one for one in state.pauses}
    return {
        rollup_id: number
        for rollup_id, number in agreed.items()
        if rollup_id not in pauses or slot >= pauses[rollup_id].until_slot
    }


def with_waiting(state: L1State, waiting: Collection[RollupId]) -> L1State:
    """The state in which the conflicts of these rollups wait, and no others."""
    pauses = tuple(msgspec.structs.replace(one, waiting=one.rollup_id in waiting) for one in state.pauses)
    return state if pauses == state.pauses else msgspec.structs.replace(state, pauses=pauses)


def with_carried_out(state: L1State, rollup_ids: Collection[RollupId], slot: Slot) -> L1State:
    """The state after conflicts of these rollups took all rollups back in a slot."""
    pauses = {one.rollup_id: one for one in state.pauses}
    for rollup_id in rollup_ids:
        before = pauses.get(rollup_id)
        count = 1 if before is None else before.count + 1
        paused = count - CONFLICTS_UNPAUSED
        # a pause has doubled often enough long before its count says so
        slots = min(CONFLICT_PAUSE_SLOTS << min(paused - 1, 16), CONFLICT_PAUSE_SLOTS_MAX) if paused > 0 else 0
        pauses[rollup_id] = Pause(rollup_id, count, Slot(slot + slots))
    return msgspec.structs.replace(state, pauses=tuple(pauses[rollup_id] for rollup_id in sorted(pauses)))


def forget_pauses(state: L1State, rollup_ids: Collection[RollupId], slot: Slot) -> L1State:
    """The state without pauses that a quiet time followed, and those of rollups that left.

    Args:
        state: to begin with.
        rollup_ids: of the registry.
        slot: now.
    """
    if not state.pauses:
        return state
    pauses = tuple(
        one for one in state.pauses if one.rollup_id in rollup_ids and slot < one.until_slot + CONFLICT_QUIET_SLOTS
    )
    return state if pauses == state.pauses else msgspec.structs.replace(state, pauses=pauses)
