"""The node's clock: wall time that never runs backwards and takes back a wrong lead gently.

    - Ahead of the wall clock (it was set back): runs 5 % slower until the wall clock has caught up.
    - Behind by up to 500 ms: runs 5 % faster. Behind by more (suspend, first synchronisation): jumps forward.

Only the engine's tick and arrival stamps read it; what is decided carries its time in the proposal.
"""

import threading
import time
from collections.abc import Callable

from plait.types import Milliseconds

_SLEW_DIVISOR = 20
_JUMP_NS = 500_000_000


class NodeClock:
    """Unix milliseconds, never falling; safe to read from any thread.

    Args:
        not_before_ms: the time of the last decided sub-block.
        wall_ns, monotonic_ns: sources of time, replaced in tests.
    """

    def __init__(
        self,
        *,
        not_before_ms: Milliseconds = Milliseconds(0),  # noqa: B008 - a NewType call of a constant
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._at_ns = monotonic_ns()
        self._now_ns = max(wall_ns(), not_before_ms * 1_000_000)

    def now_ms(self) -> Milliseconds:
        """The time, Unix milliseconds."""
        with self._lock:
            at_ns = self._monotonic_ns()
            elapsed_ns = max(at_ns - self._at_ns, 0)
            self._at_ns = at_ns
            now_ns = self._now_ns + elapsed_ns
            behind_ns = self._wall_ns() - now_ns
            if behind_ns > _JUMP_NS:
                now_ns += behind_ns
            else:
                slew_ns = elapsed_ns // _SLEW_DIVISOR
                now_ns += max(-slew_ns, min(slew_ns, behind_ns))
            self._now_ns = now_ns
            return Milliseconds(now_ns // 1_000_000)

    def lead_ms(self) -> int:
        """How far the node's time is ahead of the wall clock; negative when behind."""
        now_ms = self.now_ms()
        return now_ms - self._wall_ns() // 1_000_000
