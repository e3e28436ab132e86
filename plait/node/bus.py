"""Distribution of decided sub-blocks to whoever in this process wants them: bounded, in height order, never blocking.

A subscriber that falls behind by its queue's size is cut off: its iteration ends and `lagged` says why. It may
subscribe
anew and read what it missed from the decided log. All methods belong to the event loop's thread.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

from plait.errors import Unavailable
from plait.limits import BUS_QUEUE_MAX, BUS_SUBSCRIBERS_MAX
from plait.protocol.effects import SubBlockDecided


class Subscription(AsyncIterator[SubBlockDecided]):
    """Decided sub-blocks from the moment of subscribing on. Iterate; call `close` when done."""

    def __init__(self, bus: "EffectBus", size: int) -> None:
        self._bus = bus
        self._size = size
        self._queue: deque[SubBlockDecided] = deque()
        self._waiting = asyncio.Event()
        self._closed = False
        self.lagged = False
        """True when the subscriber was cut off because it fell behind."""

    def close(self) -> None:
        """Ends the iteration at once. Safe to call twice."""
        self._closed = True
        self._waiting.set()
        self._bus.forget(self)

    def offer(self, effect: SubBlockDecided) -> None:
        """Queues an effect, or cuts the subscriber off when its queue is full."""
        if len(self._queue) >= self._size:
            self.lagged = True
            self.close()
            return
        self._queue.append(effect)
        self._waiting.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SubBlockDecided:
        while True:
            if self._queue and not (self._closed and not self.lagged):
                return self._queue.popleft()
            if self._closed:
                raise StopAsyncIteration
            self._waiting.clear()
            await self._waiting.wait()


class EffectBus:
    """Hands every decided sub-block to all subscribers."""

    def __init__(self) -> None:
        self._subscriptions: dict[int, Subscription] = {}
        self._published = 0
        self._cut_off = 0

    def subscribe(self, *, size: int = BUS_QUEUE_MAX) -> Subscription:
        """A new subscription with room for `size` undelivered effects. Raises Unavailable (`bus_subscribers_max`)."""
        if len(self._subscriptions) >= BUS_SUBSCRIBERS_MAX:
            raise Unavailable("This node has no room for another subscriber.", code="bus_subscribers_max")
        subscription = Subscription(self, size)
        self._subscriptions[id(subscription)] = subscription
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Removes a subscription; called by its `close`."""
        if self._subscriptions.pop(id(subscription), None) is not None and subscription.lagged:
            self._cut_off += 1

    def publish(self, effect: SubBlockDecided) -> None:
        """Offers `effect` to every subscriber."""
        self._published += 1
        for subscription in list(self._subscriptions.values()):
            subscription.offer(effect)

    def close(self) -> None:
        """Ends every subscription."""
        for subscription in list(self._subscriptions.values()):
            subscription.close()

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics."""
        return {
            "subscribers": len(self._subscriptions),
            "published": self._published,
            "cut_off": self._cut_off,
            "queued": sum(len(subscription._queue) for subscription in self._subscriptions.values()),
        }
