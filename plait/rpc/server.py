"""The server: HTTP POST and WebSocket on the same paths, one main port and one port per rollup.

    main port     /                the network: plait_*, web3_*, rpc_*
                  /<chain id>      a rollup: everything
                  /health /ready /metrics
    rollup ports  /                the same as /<chain id> on the main port
    each path     also with /ws appended, for clients that expect WebSocket there

Browser safety. A page on the internet can reach a local node through its visitor's browser, so
- the Host header must name this machine (localhost, an IP address, or a configured name): no DNS rebinding
- an Origin of another site is refused; browser extensions (wallets) and, for WebSocket, pages served from this machine
  are not others
- no CORS headers unless origins are configured; the content type must be JSON, which a foreign page cannot send without
  asking first

Level 7.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from socket import gaierror
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import WSCloseCode, web
from aiohttp.http_exceptions import HttpProcessingError

from plait.errors import ConfigurationError
from plait.limits import (
    RPC_BODY_BYTES_MAX,
    RPC_BODY_TIMEOUT_S,
    RPC_KEEPALIVE_S,
    RPC_WEBSOCKET_CONNECTIONS_MAX,
)
from plait.rollups.opstack.faces.service import Faces, showing
from plait.rpc.authentication import SIGNATURE_HEADER, Credentials
from plait.rpc.backend import Backend
from plait.rpc.connection import Connection
from plait.rpc.connections import Connections
from plait.rpc.counters import Counters
from plait.rpc.dispatch import Dispatcher
from plait.rpc.endpoint import Endpoint
from plait.rpc.readers import Readers
from plait.rpc.streams import Streams
from plait.types import RollupId

JSON_TYPES: Final = frozenset({"application/json", "application/json-rpc", "application/jsonrequest"})
EXTENSION_SCHEMES: Final = frozenset(
    {"chrome-extension", "moz-extension", "safari-web-extension", "ms-browser-extension"}
)


@dataclass(frozen=True, kw_only=True)
class RpcConfig:
    """Where and for whom to listen."""

    host: str = "127.0.0.1"
    port: int = 8545
    """Main port; 0 for a free one."""
    rollup_port_base: int | None = 9545
    """Port of the rollup with the lowest id, the next ones follow; 0 for free ones, None for no ports of their own."""
    hosts: tuple[str, ...] = ()
    """Host names besides localhost and IP addresses by which clients may reach this node; "*" for any."""
    origins: tuple[str, ...] = ()
    """Web origins (`https://app.example`) that may use this node from a browser; "*" for any."""
    connections: int | None = None
    """Clients at once; None for RPC_CONNECTIONS_MAX, or fewer where the system allows fewer open files."""


class Served(NamedTuple):
    """One path of the server."""

    name: str
    http_url: str
    websocket_url: str


class _Socket(web.WebSocketResponse):
    """Says why when a message is too large; aiohttp closes with the bare code."""

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """As of aiohttp."""
        if code == WSCloseCode.MESSAGE_TOO_BIG and not message:
            message = b"message too large: at most %d bytes" % RPC_BODY_BYTES_MAX
        return await super().close(code=code, message=message, drain=drain)


class Server:
    """A listening server; made by `serve`."""

    def __init__(self, backend: Backend, config: RpcConfig) -> None:
        self.config = config
        self.endpoints: list[Served] = []
        """Every path, the network's first."""
        self.url = ""
        """The main port's."""
        self.rollup_urls: dict[int, str] = {}
        """On the main port."""
        self.own_port_urls: dict[int, str] = {}
        self.faces = Faces()
        """Of the node, beside this server."""
        self._backend = backend
        self._logger = structlog.get_logger().bind(component="rpc")
        self._counters = Counters()
        self._dispatcher = Dispatcher(self._counters, self._log_failure)
        self._readers = Readers()
        self._streams = Streams(backend, self._readers, self._log_failure)
        self._network = Endpoint(backend, self._readers, self._streams, None)
        self._rollups = {
            rollup_id: Endpoint(backend, self._readers, self._streams, backend.rollups[rollup_id])
            for rollup_id in sorted(backend.rollups)
        }
        self._clients = Connections(config.connections)
        self._listeners: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._sockets: set[web.WebSocketResponse] = set()
        self._slow_clients = 0
        self._runners: list[web.AppRunner] = []
        backend.metrics.statistics.add("rpc", self.statistics)
        backend.metrics.registry.register(self._counters)

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        reads = self._readers.statistics()
        total = self._counters.all()
        return {
            "calls": total.calls,
            "errors": total.errors,
            "seconds": total.seconds,
            "connections": len(self._clients),
            "connections_refused": self._clients.refused,
            "websocket_connections": len(self._connections),
            "subscriptions": len(self._streams),
            "slow_clients": self._slow_clients,
            "filters": sum(len(endpoint.filters) for endpoint in self._rollups.values()),
            "reads_in_progress": reads["in_progress"],
            "reads_refused": reads["refused"],
            "reads_timed_out": reads["timed_out"],
        }

    def _log_failure(self, method: str, error: BaseException) -> None:
        """Where it failed, without values: they may be anything that a client sent."""
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        self._logger.error("call_failed", method=method[:64], error=type(error).__name__, where=where)

    # ------------------------------------------------------------ lifecycle
    async def start(self) -> None:
        """Listens. Raises ConfigurationError `port_in_use` or `address_unusable`."""
        port = await self._listen(None, self.config.port)
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self.url = f"http://{host}:{port}"
        self.endpoints = [Served("network", f"http://{host}:{port}/", f"ws://{host}:{port}/")]
        for place, (rollup_id, endpoint) in enumerate(self._rollups.items()):
            http, websocket = f"http://{host}:{port}/{rollup_id}", f"ws://{host}:{port}/{rollup_id}"
            self.endpoints.append(Served(str(rollup_id), http, websocket))
            self.rollup_urls[rollup_id] = http
            if (base := self.config.rollup_port_base) is not None:
                own = await self._listen(endpoint, base and base + place)
                self.endpoints.append(Served(str(rollup_id), f"http://{host}:{own}", f"ws://{host}:{own}"))
                self.own_port_urls[rollup_id] = f"http://{host}:{own}"

    async def _listen(self, endpoint: Endpoint | None, port: int) -> int:
        application = web.Application(client_max_size=RPC_BODY_BYTES_MAX)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, endpoint)

        application.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=RPC_KEEPALIVE_S,
            handle_signals=False,
            shutdown_timeout=1.0,
            handler_cancellation=True,  # nobody waits for the rest of a batch whose client has gone
        )
        await runner.setup()
        self._runners.append(runner)
        try:
            assert runner.server is not None
            listener = await self._clients.listen(runner.server, self.config.host, port, backlog=1_024)
        except OSError as error:
            raise _unusable(self.config.host, port, error) from error
        self._listeners.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Closes connections with a reason and frees the ports."""
        for listener in self._listeners:
            listener.close()
        for socket in list(self._sockets):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await socket.close(code=1001, message=b"the node is stopping")
        for runner in self._runners:
            await runner.cleanup()
        self._readers.close()
        with contextlib.suppress(KeyError):
            self._backend.metrics.registry.unregister(self._counters)

    async def follow(self) -> None:
        """Publishes to subscribers until cancelled."""
        await self._streams.run()

    # ------------------------------------------------------------ requests
    async def _handle(self, request: web.Request, own: Endpoint | None) -> web.StreamResponse:
        if not self._host_allowed(request.host):
            return _text(403, "invalid host specified: this name is not configured (see --allow-host)\n")
        origin = request.headers.get("Origin")
        is_websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        if origin is not None and not self._origin_allowed(origin, request.host, is_websocket):
            return _text(403, "origin not allowed: configure it to use this node from that page (see --allow-origin)\n")
        endpoint = self._endpoint_of(request.path, own)
        if endpoint is None:
            return self._other(request, own)
        if is_websocket:
            return await self._websocket(request, endpoint)
        response = await self._http(request, endpoint)
        if origin is not None and self._configured(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        return response

    def _endpoint_of(self, path: str, own: Endpoint | None) -> Endpoint | None:
        name = path.strip("/").removesuffix("ws").rstrip("/")
        if not name:
            return own or self._network
        if own is None and name.isascii() and name.isdigit() and len(name) < 20:
            return self._rollup_endpoint(RollupId(int(name)))
        return None

    def _rollup_endpoint(self, rollup_id: RollupId) -> Endpoint | None:
        """A rollup's endpoint; that of one which joined while the server runs is made when it is first asked for."""
        if rollup_id not in self._rollups and rollup_id in self._backend.rollups:
            handle = self._backend.rollups[rollup_id]
            self._rollups[rollup_id] = Endpoint(self._backend, self._readers, self._streams, handle)
        return self._rollups.get(rollup_id)

    def _other(self, request: web.Request, own: Endpoint | None) -> web.Response:
        if own is None and request.method == "GET":
            if request.path in {"/health", "/ready"}:
                health = self._backend.health()
                good = health.ok if request.path == "/health" else health.ready
                body = {"ok": health.ok, "ready": health.ready, "reasons": list(health.reasons)}
                return _json(200 if good else 503, msgspec.json.encode(body))
            if request.path == "/metrics":
                return web.Response(body=self._backend.metrics.render(), content_type="text/plain", charset="utf-8")
        known = ", ".join(f"/{rollup_id}" for rollup_id in sorted(self._backend.rollups))
        return _text(
            404, f"nothing here; rollups are at {known}, the network at /\n" if own is None else "nothing here\n"
        )

    async def _http(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        if request.method == "OPTIONS":
            return self._preflight(request)
        if request.method != "POST":
            return _text(200 if request.method in {"GET", "HEAD"} else 405, "Plait JSON-RPC: POST a request here\n")
        if request.content_type not in JSON_TYPES:
            return _text(415, "invalid content type, only application/json is supported\n")
        if (request.content_length or 0) > RPC_BODY_BYTES_MAX:
            return _too_large()
        try:
            async with asyncio.timeout(RPC_BODY_TIMEOUT_S):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _too_large()
        except TimeoutError:
            return _text(408, f"the request's body did not arrive within {RPC_BODY_TIMEOUT_S} s\n")
        except (HttpProcessingError, web.RequestPayloadError):
            return _text(400, "the request's body is not what its headers say (encoding or length)\n")
        header = request.headers.get(SIGNATURE_HEADER)
        credentials = None if header is None else Credentials(header, body)
        answer = await self._dispatcher.answer(endpoint, body, credentials=credentials)
        return web.Response(status=204) if answer is None else _json(200, answer)

    async def _websocket(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        if len(self._connections) >= RPC_WEBSOCKET_CONNECTIONS_MAX:
            return _text(503, f"{RPC_WEBSOCKET_CONNECTIONS_MAX} WebSocket connections are open; try again later\n")
        # aiohttp refuses what is as large as its limit; over HTTP exactly RPC_BODY_BYTES_MAX is taken.
        socket = _Socket(max_msg_size=RPC_BODY_BYTES_MAX + 1, heartbeat=30.0, compress=False)
        await socket.prepare(request)
        connection = Connection(endpoint, self._dispatcher, socket)
        self._connections.add(connection)
        self._sockets.add(socket)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            self._sockets.discard(socket)
            self._slow_clients += connection.slow
            if connection.slow and request.transport is not None:
                request.transport.abort()
        return socket

    # ------------------------------------------------------------ browsers
    def _host_allowed(self, host: str) -> bool:
        name = _hostname(host)
        return name == "localhost" or _is_address(name) or name in self.config.hosts or "*" in self.config.hosts

    def _configured(self, origin: str) -> bool:
        return origin in self.config.origins or "*" in self.config.origins

    def _origin_allowed(self, origin: str, host: str, is_websocket: bool) -> bool:
        if self._configured(origin):
            return True
        parts = urlsplit(origin)
        if parts.scheme in EXTENSION_SCHEMES or parts.netloc == host:
            return True
        return is_websocket and (parts.hostname == "localhost" or _is_loopback(parts.hostname or ""))

    def _preflight(self, request: web.Request) -> web.Response:
        origin = request.headers.get("Origin", "")
        if not self._configured(origin):
            return _text(403, "origin not allowed (see --allow-origin)\n")
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "content-type",
            "Access-Control-Max-Age": "600",
            "Vary": "Origin",
        }
        return web.Response(status=204, headers=headers)


def _unusable(host: str, port: int, error: OSError) -> ConfigurationError:
    if isinstance(error, gaierror):
        problem = f"cannot resolve {host!r}; give an address of this machine"
        return ConfigurationError(problem, code="address_unusable", host=host)
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.EADDRINUSE:
        problem = f"cannot listen on {host}:{port} ({reason}); choose another port"
        return ConfigurationError(problem, code="port_in_use", port=port)
    problem = f"cannot listen on {host}:{port} ({reason}); give an address of this machine and a port it may use"
    return ConfigurationError(problem, code="address_unusable", host=host, port=port)


def _hostname(host: str) -> str:
    return (urlsplit("//" + host).hostname or "") if not any(c in host for c in "/@?#\\") else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return _is_address(name) and ipaddress.ip_address(name).is_loopback


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def _too_large() -> web.Response:
    return _text(413, f"content length too large: at most {RPC_BODY_BYTES_MAX} bytes\n")


@contextlib.asynccontextmanager
async def serve(backend: Backend, config: RpcConfig) -> AsyncIterator[Server]:
    """Serves a node over HTTP and WebSocket, and shows its faces, until the end of the block.

    Args:
        backend: the node; it must be running and outlive the server.
        config: where and for whom to listen.

    Raises:
        ConfigurationError: `port_in_use` or `address_unusable`.
    """
    server = Server(backend, config)
    log = structlog.get_logger().bind(component="faces").warning
    settings = backend.config
    async with (
        showing(backend, settings.faces, data_dir=settings.data_dir, log=log) as server.faces,
        asyncio.TaskGroup() as group,
    ):
        backend.metrics.statistics.add("faces", server.faces.statistics)
        follower = group.create_task(server.follow(), name="rpc-streams")
        try:
            await server.start()
            yield server
        finally:
            await server.stop()
            follower.cancel()


__all__ = ["RpcConfig", "Served", "Server", "serve"]
