"""A part of a node that is cancelled at the very moment of its waking ends: else the node would never stop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plait.node.l1_reporter import L1Reporter
from plait.node.read_ahead import ReadAhead


def reporter(wake: asyncio.Event) -> Any:
    class Watcher:
        version = 0

        async def wait(self, _: int) -> None:
            await wake.wait()

    part: Any = L1Reporter.__new__(L1Reporter)
    part.watcher, part.step = Watcher(), lambda: None
    return part._report()


def reading(wake: asyncio.Event) -> Any:
    part: Any = ReadAhead.__new__(ReadAhead)
    part._needed, part._wake, part._begin, part._tasks = asyncio.Event(), wake, lambda: None, set()
    part._needed.set()
    part._executor = ThreadPoolExecutor(1)
    return part.run()


@pytest.mark.parametrize("part", [reporter, reading])
@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_at_the_moment_of_waking_is_not_lost(part: Any, turns: int) -> None:
    wake = asyncio.Event()
    task = asyncio.create_task(part(wake))
    await asyncio.sleep(0.02)
    wake.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=3)
    if not done:
        task.cancel()
    assert done, f"still running, cancelled {turns} turns of the loop after it was woken"
