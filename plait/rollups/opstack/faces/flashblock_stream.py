"""The flashblocks stream: decided sub-blocks as WebSocket messages, one path per rollup, /<chain id>.

- Nothing is built while nobody listens. A follower that comes in the middle of a block gets the block's flashblocks so
  far first, so that it never begins without index 0.
- Every message is encoded once for all followers. A follower's queue is bounded in messages and bytes; one that does
  not keep up is disconnected (1008) with the reason, and nobody waits for it. Beyond the number of followers a new one
  is turned away (1013, "try again later"), as op-rbuilder does.
- A stream that fell behind the node's sub-blocks begins again with the next one: whole blocks, never gaps.
- The node decides nothing here: what goes wrong with one rollup's stream is counted, logged, and ends no other.
Level 5. Lives on the event loop; building runs in a thread.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import WSMsgType, web

from plait.limits import FLASHBLOCKS_QUEUE_BYTES_MAX, FLASHBLOCKS_QUEUE_MAX, FLASHBLOCKS_SEND_TIMEOUT_S
from plait.native import NativeError
from plait.protocol.effects import RollupEffect, SubBlockDecided
from plait.rollups.opstack.faces.flashblock import encode_flashblock
from plait.rollups.opstack.faces.flashblock_builder import FlashblockBuilder
from plait.rollups.opstack.faces.host import FaceHost
from plait.rollups.opstack.faces.listener import listening
from plait.rollups.opstack.faces.settings import FlashblocksSettings
from plait.types import Height, RollupId

_POLICY: Final = 1008
_TRY_AGAIN: Final = 1013


class _Follower:
    """One WebSocket client."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.reason = b""
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()

    def offer(self, message: bytes) -> bool:
        """Queues a message; False when the follower is too slow and ends."""
        if len(self._queue) >= FLASHBLOCKS_QUEUE_MAX or self._bytes + len(message) > FLASHBLOCKS_QUEUE_BYTES_MAX:
            self.reason = b"slow client: %d flashblocks are waiting" % len(self._queue)
            self._queue.clear()
            self._filled.set()
            return False
        self._queue.append(message)
        self._bytes += len(message)
        self._filled.set()
        return True

    async def serve(self) -> None:
        """Sends until the client leaves or is too slow."""
        reader = asyncio.ensure_future(self._read())
        writer = asyncio.ensure_future(self._write())
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reader, writer):
                task.cancel()
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(1):
                    await self.socket.close(code=_POLICY if self.reason else 1000, message=self.reason)

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is WSMsgType.ERROR:
                return

    async def _write(self) -> None:
        while not self.reason:
            if not self._queue:
                self._filled.clear()
                await self._filled.wait()
                continue
            message = self._queue.popleft()
            self._bytes -= len(message)
            try:
                async with asyncio.timeout(FLASHBLOCKS_SEND_TIMEOUT_S):
                    await self.socket.send_frame(message, WSMsgType.TEXT)
            except TimeoutError:
                self.reason = b"slow client: a flashblock was not taken within %d s" % FLASHBLOCKS_SEND_TIMEOUT_S
            except (ConnectionError, RuntimeError):
                return


class _Channel:
    """One rollup's stream."""

    def __init__(self, builder: FlashblockBuilder) -> None:
        self.builder = builder
        self.followers: set[_Follower] = set()
        self.block: list[bytes] = []
        """Messages of the block in progress."""

    def reset(self) -> None:
        self.builder.reset()
        self.block.clear()


class FlashblockStream:
    """All rollups' flashblocks on one port.

    Args:
        host: the node.
        settings: where to listen.
        log: told of failures, by event and fields.
    """

    def __init__(self, host: FaceHost, settings: FlashblocksSettings, log: Callable[..., Any]) -> None:
        self._host = host
        self._settings = settings
        self._log = log
        self._channels: dict[RollupId, _Channel] = {}
        self.url = ""
        """ws://host:port, once it listens."""
        self._sent = self._failures = self._slow = self._refused = 0

    def statistics(self) -> Mapping[str, int | float]:
        """Numbers for metrics."""
        return {
            "followers": sum(len(channel.followers) for channel in self._channels.values()),
            "messages": self._sent,
            "failures": self._failures,
            "slow_clients": self._slow,
            "refused_clients": self._refused,
            "differences": sum(channel.builder.differences for channel in self._channels.values()),
        }

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Listens and publishes until cancelled. Raises ConfigurationError (`port_in_use`, `address_unusable`)."""
        async with listening(self._settings.host, self._settings.port, self._handle) as address:
            self.url = f"ws://{address}"
            if ready is not None:
                ready.set()
            while True:
                effects = self._host.bus.subscribe()
                try:
                    while True:
                        await self._publish(await anext(effects))
                except StopAsyncIteration:
                    for channel in self._channels.values():
                        channel.reset()
                    if not effects.lagged:
                        return
                finally:
                    effects.close()

    # ------------------------------------------------------------ publishing
    async def _publish(self, effect: SubBlockDecided) -> None:
        unwound = {item.rollup_id for item in effect.unwound}
        for rollup_id, channel in self._channels.items():
            if rollup_id in unwound or not channel.followers:
                channel.reset()
        for part in effect.rollups:
            channel_or_none = self._channels.get(part.rollup_id)
            if channel_or_none is not None and channel_or_none.followers:
                await self._publish_part(channel_or_none, effect.height, part)

    async def _publish_part(self, channel: _Channel, height: Height, part: RollupEffect) -> None:
        try:
            messages = await asyncio.to_thread(_build, channel.builder, height, part)
        except (NativeError, AssertionError, IndexError, ValueError) as error:
            self._failures += 1
            self._log("flashblocks_failed", rollup=part.rollup_id, error=type(error).__name__, reason=str(error))
            channel.reset()
            return
        for is_first, message in messages:
            if is_first:
                channel.block.clear()
            channel.block.append(message)
            self._sent += 1
            for follower in list(channel.followers):
                if not follower.offer(message):
                    channel.followers.discard(follower)
                    self._slow += 1

    # ------------------------------------------------------------ followers
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        rollup_id = self._rollup_of(request.path)
        if rollup_id is None:
            known = ", ".join(f"/{known}" for known in sorted(self._host.rollups))
            return web.Response(status=404, text=f"no such rollup; flashblocks are at {known} (WebSocket)\n")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(
                status=426, text="flashblocks are a WebSocket stream\n", headers={"Upgrade": "websocket"}
            )
        socket = web.WebSocketResponse(max_msg_size=1_024, heartbeat=20.0, compress=False)
        await socket.prepare(request)
        if self.statistics()["followers"] >= self._settings.subscribers_max:
            self._refused += 1
            await socket.close(code=_TRY_AGAIN, message=b"subscriber limit reached, please try again later")
            return socket
        channel = self._channels.get(rollup_id)
        if channel is None:
            channel = self._channels[rollup_id] = _Channel(FlashblockBuilder(self._host.rollups[rollup_id].native))
        follower = _Follower(socket)
        for message in channel.block:
            follower.offer(message)
        channel.followers.add(follower)
        try:
            await follower.serve()
        finally:
            channel.followers.discard(follower)
        return socket

    def _rollup_of(self, path: str) -> RollupId | None:
        name = path.strip("/").removesuffix("ws").rstrip("/")
        if not name and len(self._host.rollups) == 1:
            return next(iter(self._host.rollups))
        if name.isascii() and name.isdigit() and len(name) < 20 and RollupId(int(name)) in self._host.rollups:
            return RollupId(int(name))
        return None


def _build(builder: FlashblockBuilder, height: Height, part: RollupEffect) -> list[tuple[bool, bytes]]:
    """The messages of a sub-block with whether they begin a block."""
    return [(made.index == 0, encode_flashblock(made)) for made in builder.on_effect(height, part)]
