"""One WebSocket connection: calls in, answers and notifications out, all bounded.

- Calls run concurrently, at most RPC_WEBSOCKET_CALLS_MAX; beyond that nothing is read, so a flood waits in the sender's
  own buffers.
- Messages go out in order through one queue. A notification that finds it full (in number or bytes), or a message that
  the client does not
  take within RPC_SEND_TIMEOUT_S, ends the connection with a reason; nobody else waits for a slow client.
- Binary frames and text that is not JSON get an answer like any other request.

Level 7.
"""

import asyncio
from collections import deque
from typing import Final

from aiohttp import WSMsgType, web

from plait.limits import (
    RPC_SEND_TIMEOUT_S,
    RPC_WEBSOCKET_CALLS_MAX,
    RPC_WEBSOCKET_QUEUE_BYTES_MAX,
    RPC_WEBSOCKET_QUEUE_MAX,
)
from plait.rpc.dispatch import Dispatcher
from plait.rpc.endpoint import Endpoint
from plait.rpc.streams import Subscription

CLOSE_POLICY: Final = 1008
"""RFC 6455: the endpoint's policy was violated."""


class Connection:
    """A client connected over WebSocket; made by the server, lives as long as `serve`."""

    def __init__(self, endpoint: Endpoint, dispatcher: Dispatcher, socket: web.WebSocketResponse) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self.slow = False
        self._endpoint = endpoint
        self._dispatcher = dispatcher
        self._socket = socket
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._calls = asyncio.Semaphore(RPC_WEBSOCKET_CALLS_MAX)
        self._ended = asyncio.Event()
        self._reason = b""
        self._running: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ out
    def notify(self, message: bytes) -> None:
        """Queues a notification; a client that does not keep up is disconnected."""
        if len(self._queue) >= RPC_WEBSOCKET_QUEUE_MAX or self._queue_bytes >= RPC_WEBSOCKET_QUEUE_BYTES_MAX:
            self._end(b"slow client: %d notifications are waiting" % len(self._queue))
            return
        self._put(message)

    def _put(self, message: bytes) -> None:
        self._queue.append(message)
        self._queue_bytes += len(message)
        self._filled.set()

    def _end(self, reason: bytes) -> None:
        if not self._ended.is_set():
            self.slow = True
            self._reason = reason
            self._ended.set()
            self._queue.clear()
            self._endpoint.streams.leave(self)

    async def _write(self) -> None:
        while not self._socket.closed:
            if not self._queue:
                self._filled.clear()
                await self._filled.wait()
                continue
            message = self._queue.popleft()
            self._queue_bytes -= len(message)
            self._drained.set()
            try:
                async with asyncio.timeout(RPC_SEND_TIMEOUT_S):
                    await self._socket.send_frame(message, WSMsgType.TEXT)
            except TimeoutError:
                self._end(b"slow client: a message was not taken within %d s" % RPC_SEND_TIMEOUT_S)
                return
            except (ConnectionError, RuntimeError):
                return

    # ------------------------------------------------------------ in
    async def serve(self) -> None:
        """Reads and answers until either side ends the connection."""
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._write())
            watcher = group.create_task(self._watch())
            reader = group.create_task(self._read(group))
            try:
                await asyncio.wait((reader, watcher), return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._endpoint.streams.leave(self)
                self._ended.set()
                for task in (reader, watcher, writer, *self._running):
                    task.cancel()

    async def _watch(self) -> None:
        """Ends the socket from our side: with the reason if the client still reads, without waiting for one that does
        not."""
        await self._ended.wait()
        try:
            async with asyncio.timeout(1):
                await self._socket.close(code=CLOSE_POLICY, message=self._reason)
        except TimeoutError:
            pass

    async def _read(self, group: asyncio.TaskGroup) -> None:
        async for message in self._socket:
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                continue
            body = message.data.encode() if message.type is WSMsgType.TEXT else message.data
            await self._calls.acquire()
            task = group.create_task(self._answer(body))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, body: bytes) -> None:
        try:
            answer = await self._dispatcher.answer(self._endpoint, body, self)
            if answer is not None and not self._ended.is_set():
                self._put(answer)
                self._drained.clear()
                if self._queue_bytes >= RPC_WEBSOCKET_QUEUE_BYTES_MAX:
                    await self._drained.wait()
        finally:
            self._calls.release()
