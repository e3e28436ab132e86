"""A small HTTP server on this machine for one face.

Only programs talk to faces: a request with an Origin header comes from a web page in somebody's browser and is refused,
as is a Host that is neither an address nor localhost. Level 5.
"""

import errno
import ipaddress
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from plait.errors import ConfigurationError
from plait.limits import FACE_BODY_BYTES_MAX

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(host: str, port: int, handler: Handler) -> AsyncIterator[str]:
    """Serves until the end of the block; gives host:port.

    Args:
        host: address to listen on.
        port: 0 for a free one.
        handler: of every request that may come in.

    Raises:
        ConfigurationError: `port_in_use`, `address_unusable`.
    """
    application = web.Application(client_max_size=FACE_BODY_BYTES_MAX)

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Origin") is not None or not _is_here(request.host):
            return web.Response(status=403, text="this address is for programs on this machine, not for web pages\n")
        return await handler(request)

    application.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=128)
        try:
            await site.start()
        except OSError as error:
            raise _unusable(host, port, error) from error
        address: tuple[Any, ...] = runner.addresses[0]
        yield f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
    finally:
        await runner.cleanup()


def _is_here(host: str) -> bool:
    name = urlsplit("//" + host).hostname or ""
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _unusable(host: str, port: int, error: OSError) -> ConfigurationError:
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    if error.errno == errno.EADDRINUSE:
        problem = f"A face cannot listen on {host}:{port} ({reason}); choose another port."
        return ConfigurationError(problem, code="port_in_use", port=port)
    problem = f"A face cannot listen on {host}:{port} ({reason}); give an address of this machine."
    return ConfigurationError(problem, code="address_unusable", host=host, port=port)
