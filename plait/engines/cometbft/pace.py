"""How large a proposal may be so that it is made and checked in time, learned from how long the last ones took.

CometBFT waits timeout_propose for a proposal that every validator has to make or check, send and execute; a larger one
only costs rounds. A node that took longer than its part of that time proposes less next time, in proportion, but half
at least after a proposal so small that its size cannot have been the reason. It proposes more, step by step, when it
was quick with a proposal that came near the budget: small ones say nothing about large ones. Nothing here is agreed on:
it only bounds what this node proposes. Level 5.
"""

from plait.limits import PROPOSAL_BYTES_MAX

BYTES_MIN = 64 * 1024
"""Some hundred transactions: even a very slow node proposes so much."""
BYTES_FIRST = 1024 * 1024
"""Some thousand transactions; a machine that takes more has shown it after a few loaded heights."""
_GROWTH_PERCENT = 25


class Pace:
    """The budget of the next proposal.

    Args:
        target_s: seconds that making, or checking, a proposal should take at most.
    """

    def __init__(self, target_s: float) -> None:
        self._target_s = target_s
        self.bytes_max = BYTES_FIRST
        """Of the next proposal."""

    def took(self, size: int, seconds: float) -> None:
        """Notes that a proposal of `size` bytes was made, or checked, in so many seconds."""
        if seconds > self._target_s:
            fitting = int(size * self._target_s / seconds)
            if 2 * size < self.bytes_max:  # something else than its size was slow: a proposer may see to that
                fitting = max(fitting, self.bytes_max // 2)
            self.bytes_max = max(min(self.bytes_max, fitting), BYTES_MIN)
        elif 2 * size >= self.bytes_max:
            self.bytes_max = min(self.bytes_max * (100 + _GROWTH_PERCENT) // 100, PROPOSAL_BYTES_MAX)

    def waited(self, size: int, seconds: float) -> None:
        """Notes that a proposal of this node took so long to become whole, or never did, after it had been made.

        A slow disk shows here only. What else delays a proposal says nothing about its size, so one costs half at most.
        """
        if seconds > self._target_s:
            fitting = max(int(size * self._target_s / seconds), size // 2)
            self.bytes_max = max(min(self.bytes_max, fitting), min(self.bytes_max, BYTES_FIRST // 4))


__all__ = ["BYTES_FIRST", "BYTES_MIN", "Pace"]
