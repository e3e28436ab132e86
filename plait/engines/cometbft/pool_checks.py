"""CheckTx in bounded time: an overloaded node checks late, but CometBFT does not wait for it.

CometBFT waits for every CheckTx that it has asked before it commits, and decides nothing meanwhile. A burst of large
batches, each of which takes a loaded machine seconds to decode, would so stop agreement. Therefore
    - a check that is not done within COMET_CHECK_S is answered with "kept" and goes on beside: what is good in the
      batch still reaches the pools, and if nothing is, the next recheck evicts the batch
    - while COMET_CHECKS_BEHIND_MAX checks go on so, a new batch is refused unread; its maker sends again what is not
      decided, and other nodes may have it
    - a recheck answers at once; it never waits behind a new batch of its own accord

Level 5.
"""

import asyncio
from typing import Any, Protocol

from plait.limits import COMET_CHECK_S, COMET_CHECKS_BEHIND_MAX

CODE_NO_INTAKE, CODE_FAILED, CODE_BUSY = 1, 2, 3


class Intake(Protocol):
    """Who takes what travels in CometBFT's pool."""

    async def check(self, tx: bytes, recheck: bool) -> tuple[int, str]:
        """(code, sentence): code 0 keeps the entry in the pool. Several may be in progress at once."""


class PoolChecks:
    """Asks an intake, within bounds.

    Args:
        intake: None refuses everything.
        logger: told about checks that fail.
        wait_s: for one check.
        behind_max: checks that may go on after their answer.
    """

    def __init__(
        self,
        intake: Intake | None,
        logger: Any,
        *,
        wait_s: float = COMET_CHECK_S,
        behind_max: int = COMET_CHECKS_BEHIND_MAX,
    ) -> None:
        self.intake = intake
        self._logger = logger
        self._wait_s = wait_s
        self._behind_max = behind_max
        self._behind: set[asyncio.Task[tuple[int, str]]] = set()
        self.late = 0
        """Answered before they were done, since the start."""
        self.busy = 0
        """Refused unread, since the start."""

    async def check(self, tx: bytes, recheck: bool) -> tuple[int, str]:
        """The code and sentence of CheckTx. Never raises."""
        intake = self.intake
        if intake is None:
            return CODE_NO_INTAKE, "this node takes nothing from CometBFT's pool"
        if recheck:
            return await self._asked(intake, tx, recheck)
        if len(self._behind) >= self._behind_max:
            self.busy += 1
            return CODE_BUSY, "busy: this node is behind with checking; it is sent again"
        task = asyncio.ensure_future(self._asked(intake, tx, recheck))
        done, _ = await asyncio.wait({task}, timeout=self._wait_s)
        if done:
            return task.result()
        self.late += 1
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        return 0, ""

    async def close(self) -> None:
        """Ends what still goes on."""
        behind = list(self._behind)
        for task in behind:
            task.cancel()
        if behind:
            await asyncio.wait(behind)

    async def _asked(self, intake: Intake, tx: bytes, recheck: bool) -> tuple[int, str]:
        """A failure here is nobody's business but this entry's."""
        try:
            return await intake.check(tx, recheck)
        except Exception as error:
            self._logger.error("check_failed", reason=repr(error), exc_info=error)
            return CODE_FAILED, "the check failed"


__all__ = ["Intake", "PoolChecks"]
