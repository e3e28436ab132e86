"""How many clients may be connected at once, over all ports; one too many is told so and hung up on.

The process shares its file descriptors with the store and the log, so the bound is also below the system's limit of
open files. A refused client gets its answer when it has sent something (an answer before the question confuses HTTP
clients) and a second to read it; of such clients only RPC_REFUSALS_MAX are waited for, the others are cut off.

Level 7. Lives on the event loop.
"""

import asyncio
import resource
from functools import partial
from typing import Final

from aiohttp import web

from plait.limits import RPC_CONNECTIONS_MAX, RPC_FILES_RESERVED, RPC_REFUSALS_MAX

_SECONDS: Final = 1.0


class Connections:
    """Counts the connections of a server's ports and refuses those beyond the bound.

    Args:
        most: connections at once; None for RPC_CONNECTIONS_MAX or what the limit of open files leaves.
    """

    def __init__(self, most: int | None = None) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = RPC_CONNECTIONS_MAX if files == resource.RLIM_INFINITY else max(16, files - RPC_FILES_RESERVED)
        self.most = min(RPC_CONNECTIONS_MAX, room) if most is None else most
        self.refused = 0
        self.refusing: set[Refusal] = set()
        self._servers: list[web.Server] = []
        self._coming = 0
        """Accepted in this turn of the event loop; the servers count them from the next one on."""

    def __len__(self) -> int:
        return sum(len(server.connections) for server in self._servers)

    async def listen(self, server: web.Server, host: str, port: int, backlog: int) -> asyncio.Server:
        """Listens for a server. Raises OSError when the port cannot be used."""
        self._servers.append(server)
        accept = partial(self._accept, server)
        return await asyncio.get_running_loop().create_server(accept, host, port, backlog=backlog)

    def _accept(self, server: web.Server) -> asyncio.Protocol:
        if len(self) + self._coming < self.most:
            self._coming += 1
            asyncio.get_running_loop().call_soon(self._came)  # runs right before the server is told of the connection
            return server()
        self.refused += 1
        return Refusal(self)

    def _came(self) -> None:
        self._coming -= 1


class Refusal(asyncio.Protocol):
    """A connection beyond the bound."""

    def __init__(self, owner: Connections) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Gives the client a moment, unless too many are given one."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._owner.refusing) >= RPC_REFUSALS_MAX:
            transport.abort()
            return
        self._owner.refusing.add(self)
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever was asked, the answer is the same
        """Answers the first of it."""
        assert self._transport is not None
        if not self._answered and not self._transport.is_closing():
            self._answered = True
            text = b"%d clients are connected; try again later\n" % self._owner.most
            self._transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
            )
            self._transport.write_eof()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - it was to end anyway
        """Forgets the client."""
        self._owner.refusing.discard(self)
        if self._timer is not None:
            self._timer.cancel()
