"""What an operator must hear about the L1 long before a rule of the OP Stack strikes. Pure.

Specification
    - Drift: a block more than MAX_SEQUENCER_DRIFT (1,800 s) ahead of its L1 origin may hold deposits only. A warning at
      half of it, an alarm at four fifths.
    - Sequencing window: a block whose batch is not on L1 within seq_window_size L1 blocks after its origin is
      replaced by one of deposits only, and everything built on it is lost. A warning at a quarter of the window, an
      alarm at half.
    - The state of the L1 node itself, and deposit logs that are no deposits.
Levels: "warning" asks for a look, "alarm" for action now.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from plait.derivation.rollup_config import MAX_SEQUENCER_DRIFT_FJORD_S
from plait.types import BlockNumber, RollupId, Seconds

AlarmLevel = Literal["warning", "alarm"]

DRIFT_WARNING_PERCENT: Final = 50
DRIFT_ALARM_PERCENT: Final = 80
WINDOW_WARNING_PERCENT: Final = 25
WINDOW_ALARM_PERCENT: Final = 50


class RollupPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rollup stands on its L1."""

    rollup_id: RollupId
    head_time_s: Seconds
    """Timestamp of its newest block."""
    origin_time_s: Seconds
    """Of that block's L1 origin."""
    seq_window_blocks: int
    unposted_origin: BlockNumber | None = None
    """Origin of its oldest block whose batch is not on L1; None when all are, or nobody here posts or watches."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `code` and `rollup_id` (0: all) tell alarms apart."""

    code: str
    level: AlarmLevel
    rollup_id: RollupId
    message: str
    percent: int
    """How much of the limit is used up; 100 where there is no share."""


def alarms_of(positions: Iterable[RollupPosition], l1_head: BlockNumber | None) -> tuple[Alarm, ...]:
    """Alarms about drift and sequencing windows, ascending by rollup.

    Args:
        positions: of the rollups that derive from the L1.
        l1_head: newest L1 block seen; None for none yet, and no window is judged.
    """
    found: list[Alarm] = []
    for position in sorted(positions, key=lambda one: one.rollup_id):
        drift = _drift(position)
        if drift is not None:
            found.append(drift)
        window = None if l1_head is None else _window(position, l1_head)
        if window is not None:
            found.append(window)
    return tuple(found)


def raised_and_cleared(
    before: Mapping[tuple[str, int], Alarm], now: Iterable[Alarm]
) -> tuple[list[Alarm], list[Alarm], dict[tuple[str, int], Alarm]]:
    """(new or with another level, gone, all of now by code and rollup)."""
    current = {(alarm.code, int(alarm.rollup_id)): alarm for alarm in now}
    raised = [one for key, one in current.items() if key not in before or before[key].level != one.level]
    cleared = [one for key, one in before.items() if key not in current]
    return raised, cleared, current


def _drift(position: RollupPosition) -> Alarm | None:
    drift_s = position.head_time_s - position.origin_time_s
    limit_s = MAX_SEQUENCER_DRIFT_FJORD_S
    percent = max(0, drift_s) * 100 // limit_s
    if percent < DRIFT_WARNING_PERCENT:
        return None
    level: AlarmLevel = "alarm" if percent >= DRIFT_ALARM_PERCENT else "warning"
    return Alarm(
        code="l1_drift",
        level=level,
        rollup_id=position.rollup_id,
        percent=percent,
        message=f"Rollup {position.rollup_id} is {drift_s} s ahead of its L1 origin; from {limit_s} s on its blocks "
        "may hold deposits only. Check that L1 is read and its blocks are agreed on.",
    )


def _window(position: RollupPosition, l1_head: BlockNumber) -> Alarm | None:
    if position.unposted_origin is None:
        return None
    waited = l1_head - position.unposted_origin
    percent = max(0, waited) * 100 // position.seq_window_blocks
    if percent < WINDOW_WARNING_PERCENT:
        return None
    level: AlarmLevel = "alarm" if percent >= WINDOW_ALARM_PERCENT else "warning"
    return Alarm(
        code="l1_sequencing_window",
        level=level,
        rollup_id=position.rollup_id,
        percent=percent,
        message=f"The oldest block of rollup {position.rollup_id} that is not on L1 is {waited} L1 blocks old; after "
        f"{position.seq_window_blocks} it is replaced and what follows is lost. Check the batcher and its balance.",
    )
