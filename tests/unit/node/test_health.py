"""Health is judged by how far the newest sub-block is behind the clock."""

import pytest

from plait.node.health import health_of
from plait.protocol.requests import ApplicationInfo
from plait.types import NetworkParameters

PARAMETERS = NetworkParameters(network_id=1, genesis_time_s=1_000, slot_ms=1_000, sub_blocks_per_slot=4)


@pytest.mark.parametrize(
    ("newest", "now_ms", "stopping", "ok_ready", "reason"),
    [
        ((10, 1_010_000), 1_010_900, False, (True, True), ""),
        ((10, 1_010_000), 1_013_000, False, (True, True), ""),
        ((10, 1_010_000), 1_015_000, False, (False, False), "No sub-block was decided for 5000 ms."),
        ((600, 3_000_000), 3_000_000, False, (True, False), "The node is catching up, 1400 slots behind."),
        ((10, 1_010_000), 1_010_100, True, (False, False), "The node is stopping."),
    ],
)
def test_health(newest: tuple[int, int], now_ms: int, stopping: bool, ok_ready: tuple[bool, bool], reason: str) -> None:
    info = ApplicationInfo(height=7, app_hash=bytes(32), slot=newest[0], sub_index=0, time_ms=newest[1])
    found = health_of(info, PARAMETERS, now_ms, stopping=stopping)
    assert ((found.ok, found.ready), " ".join(found.reasons)) == (ok_ready, reason)


def test_clock_that_was_set_back_is_named_while_the_node_works() -> None:
    info = ApplicationInfo(height=7, app_hash=bytes(32), slot=10, sub_index=0, time_ms=1_010_000)
    assert health_of(info, PARAMETERS, 1_010_100, stopping=False, lead_ms=10_000).reasons == ()
    found = health_of(info, PARAMETERS, 1_010_100, stopping=False, lead_ms=3_598_000)
    assert (found.ok, found.ready) == (True, True)
    assert "3598 s ahead" in found.reasons[0]
