"""Clock, bus, logs and metrics: the node's small parts on their own."""

import asyncio
import io
import json
import random
from typing import Any

import pytest
import structlog

from plait.node.bus import EffectBus
from plait.node.clock import NodeClock
from plait.node.logging import configure_logging, redact


class Time:
    def __init__(self) -> None:
        self.wall = 1_000_000_000_000
        self.monotonic = 0

    def pass_ms(self, ms: int, *, wall_ms: int | None = None) -> None:
        self.monotonic += ms * 1_000_000
        self.wall += (ms if wall_ms is None else wall_ms) * 1_000_000

    def clock(self, not_before_ms: int = 0) -> NodeClock:
        return NodeClock(not_before_ms=not_before_ms, wall_ns=lambda: self.wall, monotonic_ns=lambda: self.monotonic)


@pytest.mark.parametrize("seed", range(20))
def test_the_clock_never_falls_whatever_the_wall_clock_does(seed: int) -> None:
    source = random.Random(seed)
    time = Time()
    clock = time.clock()
    last = clock.now_ms()
    for _ in range(500):
        time.pass_ms(
            source.randrange(50), wall_ms=source.randrange(-100_000, 100_000) if source.random() < 0.1 else None
        )
        now = clock.now_ms()
        assert now >= last
        last = now


def test_the_clock_follows_a_wall_clock_that_was_set_back_without_standing_still() -> None:
    time = Time()
    clock = time.clock()
    start = clock.now_ms()
    time.pass_ms(1_000, wall_ms=-1_000)
    assert start + 900 <= clock.now_ms() <= start + 1_000
    for _ in range(100):
        time.pass_ms(1_000)
        clock.now_ms()
    assert clock.now_ms() == time.wall // 1_000_000


def test_the_clock_jumps_forward_after_a_suspend_and_starts_no_earlier_than_asked() -> None:
    time = Time()
    clock = time.clock()
    time.pass_ms(10, wall_ms=3_600_000)
    assert clock.now_ms() == time.wall // 1_000_000
    assert time.clock(not_before_ms=10**10).now_ms() == 10**10


class Effect:
    def __init__(self, height: int) -> None:
        self.height = height


async def test_a_subscriber_that_falls_behind_is_cut_off_and_others_are_not() -> None:
    bus = EffectBus()
    slow, fast = bus.subscribe(size=3), bus.subscribe(size=100)
    effects: list[Any] = [Effect(height) for height in range(10)]
    for effect in effects:
        bus.publish(effect)
    assert slow.lagged
    assert [effect.height async for effect in slow] == [0, 1, 2]
    got = []

    async def read() -> None:
        async for effect in fast:
            got.append(effect.height)  # noqa: PERF401 - read until closed from outside

    task = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    fast.close()
    await task
    assert got == list(range(10))
    assert bus.statistics() == {"subscribers": 0, "published": 10, "cut_off": 1, "queued": 0}


def test_logs_are_json_lines_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logging("json", "info")
    structlog.get_logger().info("started", private_key="0xac09", height=3)
    structlog.get_logger().debug("hidden")
    structlog.reset_defaults()
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["height"], event["level"]) == ("started", 3, "info")
    assert event["private_key"] == "(redacted)"
    assert redact(None, "", {"event": "x", "api_token": "t"})["api_token"] == "(redacted)"
