"""A program that uses the client beside py_ecc, which lets Python recurse 100,000 levels deep, survives a node that
answers with JSON nested deeper than any stack: it hears `node_unreachable`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from plait.client import Client, NodeUnreachable
from plait.limits import CLIENT_RESPONSE_LEVELS_MAX

DEEP = 3_000_000
SHAPES: dict[str, Callable[[int], str]] = {
    "arrays": lambda levels: "[" * levels + "]" * levels,
    "objects": lambda levels: '{"a":' * levels + "0" + "}" * levels,
    "unclosed": lambda levels: "[" * levels,
    "after strings": lambda levels: r'["]]\"]\\","' + r"\"" * 3 + '",' + "[" * levels + "]" * levels + "]",
}


@asynccontextmanager
async def node(answer: str, notification: str) -> AsyncIterator[str]:
    """A server that gives every request this answer, and every subscription this notification."""

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            await request.read()
            return web.Response(text=answer, content_type="application/json")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        message = await socket.receive()
        assert message.type is WSMsgType.TEXT
        await socket.send_str('{"jsonrpc":"2.0","id":1,"result":"0x1"}')
        await socket.send_str(notification)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ask(shape: str) -> None:
    """Every way in which the client reads JSON; each must end in NodeUnreachable."""
    text = SHAPES[shape](DEEP)
    async with node(text, text) as url, Client(url) as client:
        for question in (
            client.call("eth_chainId"),
            client.batch([("eth_chainId", ()), ("eth_blockNumber", ())]),
            anext(client.subscribe("eth_subscribe", "newHeads")),
        ):
            try:
                await question
            except NodeUnreachable as error:
                print(error.code)


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_deeper_than_the_stack_end_no_program_that_lifted_its_recursion_limit(shape: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", __file__, shape],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1_500:]
    assert done.stdout.split() == ["node_unreachable"] * 3


async def test_what_is_as_deep_as_allowed_is_read() -> None:
    inner = SHAPES["arrays"](CLIENT_RESPONSE_LEVELS_MAX - 1)
    deeper = SHAPES["arrays"](CLIENT_RESPONSE_LEVELS_MAX)
    async with (
        node(f'{{"id":1,"result":{inner}}}', f'{{"params":{{"result":{inner[2:-2]}}}}}') as url,
        Client(url) as client,
    ):
        assert isinstance(await client.call("x"), list)
        assert isinstance(await anext(client.subscribe("x")), list)
    async with node(f'{{"id":1,"result":{deeper}}}', "") as url, Client(url) as client:
        with pytest.raises(NodeUnreachable, match="levels"):
            await client.call("x")


@pytest.mark.parametrize("notification", ["{", "1", "[]", '{"params":1}', '{"params":{}}'])
async def test_a_notification_that_is_none_ends_the_subscription(notification: str) -> None:
    async with node("", notification) as url, Client(url) as client:
        with pytest.raises(NodeUnreachable):
            await anext(client.subscribe("x"))


if __name__ == "__main__":
    import py_ecc.bn128  # noqa: F401, what web3 loads

    assert sys.getrecursionlimit() >= 100_000
    asyncio.run(ask(sys.argv[1]))
