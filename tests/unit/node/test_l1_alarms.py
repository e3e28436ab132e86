"""Alarms about drift and sequencing windows begin where the specification says, once, and end."""

from __future__ import annotations

import pytest

from plait.node.l1_alarms import Alarm, RollupPosition, alarms_of, raised_and_cleared
from plait.types import BlockNumber, RollupId, Seconds


def position(drift_s: int = 0, unposted: int | None = None, window: int = 100) -> RollupPosition:
    return RollupPosition(
        rollup_id=RollupId(901),
        head_time_s=Seconds(10_000 + drift_s),
        origin_time_s=Seconds(10_000),
        seq_window_blocks=window,
        unposted_origin=None if unposted is None else BlockNumber(unposted),
    )


@pytest.mark.parametrize(
    ("drift_s", "level"),
    [(-5, None), (0, None), (899, None), (900, "warning"), (1_439, "warning"), (1_440, "alarm"), (1_801, "alarm")],
)
def test_drift_warns_at_half_and_alarms_at_four_fifths_of_1800_s(drift_s: int, level: str | None) -> None:
    alarms = alarms_of([position(drift_s)], BlockNumber(0))
    assert [alarm.level for alarm in alarms] == ([] if level is None else [level])
    assert all(alarm.code == "l1_drift" and "901" in alarm.message for alarm in alarms)


@pytest.mark.parametrize(
    ("waited", "level"), [(0, None), (24, None), (25, "warning"), (49, "warning"), (50, "alarm"), (100, "alarm")]
)
def test_the_sequencing_window_alarms_at_half(waited: int, level: str | None) -> None:
    alarms = alarms_of([position(unposted=1_000)], BlockNumber(1_000 + waited))
    assert [alarm.level for alarm in alarms] == ([] if level is None else [level])
    assert all(alarm.code == "l1_sequencing_window" and alarm.percent == waited for alarm in alarms)


def test_a_window_is_not_judged_without_an_l1_head_or_when_all_is_posted() -> None:
    assert alarms_of([position(unposted=1)], None) == ()
    assert alarms_of([position()], BlockNumber(10**6)) == ()


def test_an_alarm_is_raised_once_per_level_and_cleared_once() -> None:
    def alarm(level: str) -> Alarm:
        return Alarm(code="l1_drift", level=level, rollup_id=RollupId(901), message="m", percent=1)  # type: ignore[arg-type]

    raised, cleared, held = raised_and_cleared({}, [alarm("warning")])
    assert (len(raised), len(cleared)) == (1, 0)
    raised, cleared, held = raised_and_cleared(held, [alarm("warning")])
    assert (len(raised), len(cleared)) == (0, 0)
    raised, cleared, held = raised_and_cleared(held, [alarm("alarm")])
    assert (len(raised), len(cleared)) == (1, 0)
    raised, cleared, held = raised_and_cleared(held, [])
    assert (len(raised), len(cleared), held) == (0, 1, {})
