"""Links between nodes: one TCP proxy per ordered pair (who dials, who is dialled), which can be broken without root.

    open    bytes pass both ways
    cut     connections are reset, new ones are closed at once: a cable pulled out whose end is noticed
    silent  connections stay and nothing passes, new ones are accepted and hear nothing: a black hole

A silent link that opens again delivers what it held back, as a network does after a long delay. Each direction of a
connection holds at most one read and what the operating system buffers, because reading stops while the other side
does not take more.
"""

from __future__ import annotations

import asyncio
from typing import Literal, cast

LinkState = Literal["open", "cut", "silent"]
HOST = "127.0.0.1"


class _Side(asyncio.Protocol):
    """One end of a connection: what arrives goes to the other end."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self._kept = bytearray()
        """One read at most: what arrived although reading was to stop (uvloop begins to read after connection_made)."""
        self._full = False
        """The other end does not take more for now."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.link.sides.add(self)

    def data_received(self, data: bytes) -> None:
        if self._stands_still():
            self._kept += data
            self.hold()
        elif self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.link.sides.discard(self)
        self.transport = None
        if self.other is not None:
            self.other.end()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.hold(full=True)

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.hold(full=False)

    def hold(self, *, full: bool | None = None) -> None:
        """Reads when the link is open, the other end is there and takes more; not otherwise."""
        if full is not None:
            self._full = full
        if self.transport is None or self.transport.is_closing():
            return
        if self._stands_still():
            self.transport.pause_reading()
            return
        if self._kept and self.other is not None and self.other.transport is not None:
            kept, self._kept = bytes(self._kept), bytearray()
            self.other.transport.write(kept)
        self.transport.resume_reading()

    def _stands_still(self) -> bool:
        return self._full or self.other is None or self.link.state == "silent"

    def end(self) -> None:
        """Resets the connection."""
        if self.transport is not None:
            self.transport.abort()


class _Accepted(_Side):
    """The end that dialled; the other one is dialled when the link is open."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.link.state == "cut":
            self.end()
            return
        self.hold()
        self.link.dial(self)


class Link:
    """A proxy in front of one node's port for one other node. `port` is where that one dials."""

    def __init__(self, source: str, target: str, target_port: int) -> None:
        self.source = source
        self.target = target
        self.target_port = target_port
        self.port = 0
        self.state: LinkState = "open"
        self.sides: set[_Side] = set()
        self._server: asyncio.Server | None = None
        self._dialling: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begins to listen on a free port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Accepted(self), HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Ends every connection and stops to listen."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._dialling):
            task.cancel()
        for side in tuple(self.sides):
            side.end()
        if self._dialling:
            await asyncio.wait(self._dialling)

    def set(self, state: LinkState) -> None:
        """Breaks or mends the link. A link that is no longer silent first dials for those who wait."""
        self.state = state
        for side in tuple(self.sides):
            if state == "cut":
                side.end()
            else:
                if state == "open" and isinstance(side, _Accepted) and side.other is None:
                    self.dial(side)
                side.hold()

    def dial(self, accepted: _Accepted) -> None:
        """Connects an accepted connection to the target unless the link is silent."""
        if self.state == "open":
            task = asyncio.get_running_loop().create_task(self._dial(accepted))
            self._dialling.add(task)
            task.add_done_callback(self._dialling.discard)

    async def _dial(self, accepted: _Accepted) -> None:
        def dialled() -> _Side:
            side = _Side(self)
            side.other = accepted
            return side

        try:
            _, side = await asyncio.get_running_loop().create_connection(dialled, HOST, self.target_port)
        except OSError:
            accepted.end()
            return
        if accepted.transport is None or self.state == "cut" or accepted.other is not None:
            side.other = None
            side.end()
            return
        accepted.other = side
        accepted.hold()
        side.hold()

    def statistics(self) -> dict[str, int | str]:
        """Numbers for the status."""
        return {"source": self.source, "target": self.target, "state": self.state, "connections": len(self.sides)}
