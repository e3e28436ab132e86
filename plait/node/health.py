"""Whether a node works: `ok` means it makes progress, `ready` that it has also caught up and takes traffic."""

import msgspec

from plait.protocol.grid import slot_at
from plait.protocol.requests import ApplicationInfo
from plait.types import Milliseconds, NetworkParameters

SLOTS_BEHIND_MAX = 3
"""Slots without a sub-block after which something is wrong; the next slot's first sub-block is due within one."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `/health` (by `ok`) and `/ready` (by `ready`)."""

    ok: bool
    ready: bool
    reasons: tuple[str, ...]
    """One sentence for each thing that is not as it should be."""
    height: int
    slot: int
    slots_behind: int


CLOCK_LEAD_MS_MAX = 10_000
"""Lead of the node's clock over the system's from which blocks' timestamps surprise their readers."""


def health_of(
    info: ApplicationInfo, parameters: NetworkParameters, now_ms: Milliseconds, *, stopping: bool, lead_ms: int = 0
) -> Health:
    """Judges a node by how far its newest sub-block is behind the clock.

    `lead_ms`: how far the node's clock is ahead of the system's. The node works then, but says so.
    """
    behind = max(slot_at(parameters, now_ms) - info.slot, 0)
    late = behind > SLOTS_BEHIND_MAX
    silent_ms = now_ms - info.time_ms
    stuck = silent_ms > (SLOTS_BEHIND_MAX + 1) * parameters.slot_ms
    reasons: list[str] = []
    if stopping:
        reasons.append("The node is stopping.")
    if stuck:
        reasons.append(f"No sub-block was decided for {silent_ms} ms.")
    elif late:
        reasons.append(f"The node is catching up, {behind} slots behind.")
    if lead_ms > CLOCK_LEAD_MS_MAX:
        reasons.append(
            f"The system's clock was set back: the node's, and with it every block's time, is {lead_ms // 1_000} s "
            "ahead of it."
        )
    return Health(
        ok=not stopping and not stuck,
        ready=not stopping and not late and not stuck,
        reasons=tuple(reasons),
        height=info.height,
        slot=info.slot,
        slots_behind=behind,
    )
