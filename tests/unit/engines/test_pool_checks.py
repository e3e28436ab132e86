"""CometBFT gets its answer in bounded time, however long the check of a batch takes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from plait.engines.cometbft.pool_checks import CODE_BUSY, CODE_FAILED, CODE_NO_INTAKE, PoolChecks


class Slow:
    """Checks when it is let."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.done: list[bytes] = []

    async def check(self, tx: bytes, recheck: bool) -> tuple[int, str]:
        if tx.startswith(b"slow") and not recheck:
            await self.gate.wait()
        if tx == b"bug":
            raise RuntimeError("oops")
        self.done.append(tx)
        return (0, "") if tx != b"bad" else (5, "bad")


class Logger:
    def __init__(self) -> None:
        self.events: list[str] = []

    def error(self, event: str, **_: Any) -> None:
        self.events.append(event)


async def test_quick_checks_are_answered_with_their_own_verdict() -> None:
    logger = Logger()
    checks = PoolChecks(Slow(), logger)
    assert await checks.check(b"good", recheck=False) == (0, "")
    assert await checks.check(b"bad", recheck=False) == (5, "bad")
    assert (await checks.check(b"bug", recheck=False))[0] == CODE_FAILED
    assert logger.events == ["check_failed"]
    assert (checks.late, checks.busy) == (0, 0)
    assert (await PoolChecks(None, logger).check(b"x", recheck=False))[0] == CODE_NO_INTAKE


async def test_a_slow_check_is_kept_goes_on_and_reaches_its_end() -> None:
    intake = Slow()
    checks = PoolChecks(intake, Logger(), wait_s=0.01)
    assert await checks.check(b"slow", recheck=False) == (0, "")
    assert intake.done == []
    assert await checks.check(b"slow", recheck=True) == (0, ""), "a recheck does not wait"
    intake.gate.set()
    await asyncio.sleep(0.01)
    assert intake.done == [b"slow", b"slow"]
    assert checks.late == 1


async def test_a_flood_of_slow_batches_delays_a_commit_by_a_bounded_time() -> None:
    intake = Slow()
    checks = PoolChecks(intake, Logger(), wait_s=0.01, behind_max=4)
    began = time.perf_counter()
    codes = [(await checks.check(b"slow%d" % index, recheck=False))[0] for index in range(300)]
    assert time.perf_counter() - began < 1.0
    assert codes == [0] * 4 + [CODE_BUSY] * 296
    intake.gate.set()
    await asyncio.sleep(0.01)
    assert (await checks.check(b"good", recheck=False))[0] == 0, "when it has caught up it reads again"
    assert checks.busy == 296


async def test_closing_ends_what_still_goes_on() -> None:
    checks = PoolChecks(Slow(), Logger(), wait_s=0.01)
    await checks.check(b"slow", recheck=False)
    await asyncio.wait_for(checks.close(), 1)
