"""An engine between Plait and op-geth that can be told to lie: newPayload answers INVALID from some block on."""

from __future__ import annotations

from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web


class LyingEngine:
    """Forwards the Engine API to an op-geth. Use as an asynchronous context manager.

    Args:
        target: URL of the op-geth's authenticated port; tokens are passed through.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self.port = 0
        self.lies_from: int | None = None
        """The first block that it calls invalid."""
        self.lies = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        application = web.Application(client_max_size=1 << 26)
        application.add_routes([web.post("/", self._answer)])
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with self._session.post(self._target, data=body, headers=headers) as answer:
            data = await answer.read()
            status = answer.status
        if self.lies_from is not None and status == 200:
            data = self._lie(msgspec.json.decode(body), data)
        return web.Response(body=data, status=status, content_type="application/json")

    def _lie(self, asked: Any, data: bytes) -> bytes:
        one = asked if isinstance(asked, dict) else {}
        if not str(one.get("method", "")).startswith("engine_newPayload"):
            return data
        assert self.lies_from is not None
        if int(one["params"][0]["blockNumber"], 16) < self.lies_from:
            return data
        self.lies += 1
        answer = msgspec.json.decode(data)
        answer["result"] = {"status": "INVALID", "latestValidHash": None, "validationError": "a lie of this test"}
        return msgspec.json.encode(answer)
