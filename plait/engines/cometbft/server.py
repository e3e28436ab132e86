"""The ABCI socket server: connections, order, flow. What is answered is the handler's affair.

Specification
    - A unix socket that only its owner can reach. CometBFT opens four connections (query, snapshot, mempool, consensus)
      that nothing on the wire names; every connection may ask anything.
    - Answers come in the order of the requests of their connection: one request of a connection is handled at a time.
      Connections do not wait for each other.
    - Echo and Flush are answered here. Answers are written when the client flushes, or when nothing more waits to be
      answered; so a client that never flushes gets its answers too.
    - A message that is too large or cannot be decoded, a request that nobody knows, and a handler that fails are
      answered with an exception, and the connection is closed after it. CometBFT stops itself then; what becomes of the
      node is `on_failure`'s to decide.
    - Reading pauses while ABCI_REQUESTS_WAITING_MAX requests or ABCI_MESSAGE_BYTES_MAX bytes of one connection wait.

Source: CometBFT v0.38, spec/abci/abci++_client_server.md. Level 5; knows neither the application nor the engine.
"""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from google.protobuf.message import DecodeError

from plait.engines.cometbft.abci_pb2 import Echo, Flush, Request, Response, ResponseException
from plait.engines.cometbft.framing import Deframer, frame
from plait.errors import CodecError, ConfigurationError, PlaitError
from plait.limits import ABCI_CONNECTIONS_MAX, ABCI_MESSAGE_BYTES_MAX, ABCI_REQUESTS_WAITING_MAX

Handler = Callable[[Request, str, int], Awaitable[Response]]
"""Answers a request, given the name of its field in the envelope and the number of its connection."""

SOCKET_PATH_BYTES_MAX = 100
"""The kernel's bound is 108 on Linux, 104 on macOS, the ending zero included."""


class AbciServer:
    """Listens on a unix socket and asks `handler`.

    Args:
        path: of the socket; a stale one is replaced.
        handler: awaited for every request but Echo and Flush.
        on_failure: told about an exception of `handler`, with the method, before the connection is closed.
    """

    def __init__(self, path: Path, handler: Handler, on_failure: Callable[[BaseException, str], None]) -> None:
        self._path = path
        self._handler = handler
        self._on_failure = on_failure
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._opened = 0
        self.requests = 0
        """Answered since the start."""

    async def start(self) -> None:
        """Begins to listen. Raises ConfigurationError (`socket_unusable`)."""
        try:
            listener = _listen(self._path)
        except OSError as error:
            raise ConfigurationError(
                f"The socket {self._path} cannot be opened: {error.strerror or error}.",
                code="socket_unusable",
                path=str(self._path),
            ) from error
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._connect, sock=listener)

    async def close(self) -> None:
        """Stops listening and drops every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            await connection.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _connect(self) -> asyncio.Protocol:
        self._opened += 1
        return _Connection(self, self._opened)

    # ------------------------------------------------------------ what connections call
    def admit(self, connection: "_Connection") -> bool:
        """Whether there is room for one more connection."""
        if len(self._connections) >= ABCI_CONNECTIONS_MAX:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: "_Connection") -> None:
        """A connection has ended."""
        self._connections.discard(connection)

    async def answer(self, data: bytes, connection: int) -> tuple[Response, bool, bool]:
        """(answer, whether the client wants it at once, whether the connection goes on)."""
        self.requests += 1
        request = Request()
        method = "unknown"
        try:
            request.ParseFromString(data)
            method = request.WhichOneof("value") or "unknown"
            if method == "flush":
                return Response(flush=Flush()), True, True
            if method == "echo":
                return Response(echo=Echo(message=request.echo.message)), False, True
            if method == "unknown":
                raise CodecError("a request of no kind that ABCI 2.0 has", code="request_unknown")
            return await self._handler(request, method, connection), False, True
        except (DecodeError, CodecError) as error:
            return _exception(f"malformed request: {error}"), True, False
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of native code is no Exception; unanswered, CometBFT waits for ever
            self._on_failure(error, method)
            text = f"{error.code}: {error.message}" if isinstance(error, PlaitError) else type(error).__name__
            return _exception(text), True, False


class _Connection(asyncio.Protocol):
    """One client. A task of its own handles its requests one after the other."""

    def __init__(self, server: AbciServer, number: int) -> None:
        self._server = server
        self._number = number
        self._deframer = Deframer()
        self._waiting: deque[bytes | CodecError] = deque()
        self._waiting_bytes = 0
        self._paused = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ called by the loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are not asyncio's by class
        if not self._server.admit(self):
            transport.close()
            return
        self._task = asyncio.get_running_loop().create_task(self._serve(), name=f"abci-{self._number}")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._writable.set()
        self._server.forget(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._deframer.feed(data)
        try:
            while (message := self._deframer.pop()) is not None:
                self._waiting.append(message)
                self._waiting_bytes += len(message)
        except CodecError as error:
            self._waiting.append(error)
            self._pause()
        if len(self._waiting) >= ABCI_REQUESTS_WAITING_MAX or self._waiting_bytes >= ABCI_MESSAGE_BYTES_MAX:
            self._pause()
        if self._waiting:
            self._arrived.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # ------------------------------------------------------------ inside
    async def close(self) -> None:
        """Ends the connection and its task."""
        if self._transport is not None:
            self._transport.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _serve(self) -> None:
        assert self._transport is not None
        answers = bytearray()
        while True:
            if not self._waiting:
                if answers:
                    await self._write(answers)
                    continue
                self._arrived.clear()
                await self._arrived.wait()
            message = self._waiting.popleft()
            if isinstance(message, CodecError):
                response, at_once, alive = _exception(message.message), True, False
            else:
                self._waiting_bytes -= len(message)
                self._resume()
                response, at_once, alive = await self._server.answer(message, self._number)
            answers += frame(response.SerializeToString())
            if at_once:
                await self._write(answers)
            if not alive:
                self._transport.close()
                return

    async def _write(self, answers: bytearray) -> None:
        assert self._transport is not None
        self._transport.write(bytes(answers))
        answers.clear()
        await self._writable.wait()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        low = len(self._waiting) <= ABCI_REQUESTS_WAITING_MAX // 2 and self._waiting_bytes < ABCI_MESSAGE_BYTES_MAX // 2
        if self._paused and low and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()


def _exception(text: str) -> Response:
    return Response(exception=ResponseException(error=text))


def _listen(path: Path) -> socket.socket:
    """A listening socket at a path of any length. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = -1
    try:
        name = str(path)
        if len(os.fsencode(name)) > SOCKET_PATH_BYTES_MAX:
            # The kernel takes no longer name; Linux reaches the same directory by the number of an open file.
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            name = f"/proc/self/fd/{directory}/{path.name}"
        listener.bind(name)
        path.chmod(0o600)
        listener.listen(ABCI_CONNECTIONS_MAX)
    except BaseException:
        listener.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    listener.setblocking(False)
    return listener


__all__ = ["AbciServer", "Handler"]
