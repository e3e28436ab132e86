"""A proxy before a real L1 node that changes what it answers: an L1 that lies, lags or breaks off."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self

import aiohttp
from aiohttp import web

Change = Callable[[str, list[Any], Any], Any]
"""(method, parameters, true result) -> what is answered instead."""


class Proxy:
    """Answers as the node at `target` does, but for what `change` makes of it; `down` answers nothing at all."""

    def __init__(self, target: str, change: Change = lambda method, params, result: result) -> None:
        self._target = target
        self.change = change
        self.down = False
        self.asked: list[str] = []
        self.missing_methods: set[str] = set()
        self.fail_next = 0
        self.no_batches = False
        self.raw: bytes | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/{key:.*}", self._answer)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._session.close()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            request.transport.close()  # type: ignore[union-attr]
            return web.Response(status=500)
        if self.fail_next:
            self.fail_next -= 1
            return web.Response(status=503)
        if self.raw is not None:
            return web.Response(body=self.raw, content_type="application/json")
        body = await request.json()
        if self.no_batches and isinstance(body, list):
            refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batches here"}}
            return web.json_response(refusal)
        async with self._session.post(self._target, json=body) as response:
            answers = await response.json()
        calls, found = (body, answers) if isinstance(body, list) else ([body], [answers])
        by_id = {one["id"]: one for one in found}
        for call in calls:
            self.asked.append(call["method"])
            answer = by_id[call["id"]]
            if call["method"] in self.missing_methods:
                answer.pop("result", None)
                answer["error"] = {"code": -32601, "message": "the method does not exist"}
            elif "result" in answer:
                answer["result"] = self.change(call["method"], call["params"], answer["result"])
        return web.Response(body=json.dumps(answers).encode(), content_type="application/json")
