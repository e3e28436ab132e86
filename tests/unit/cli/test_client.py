"""The client tells apart: no node, something that is no node, a refusal, an answer that is missing or too large."""

import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from plait.client import Client, NodeUnreachable, RpcError
from plait.limits import RPC_BATCH_ITEMS_MAX


async def answer(request: web.Request) -> web.Response:
    body = await request.json()
    if isinstance(body, list):
        answers = [{"jsonrpc": "2.0", "id": one["id"], "result": one["params"][0]} for one in body]
        lost = [one for one in answers if one["result"] != "lost"]
        return web.json_response(lost[::-1])
    if body["method"] == "refused":
        error = {"code": -32000, "message": "nonce too low", "data": {"code": "nonce_too_low"}}
        return web.json_response({"jsonrpc": "2.0", "id": body["id"], "error": error})
    if body["method"] == "html":
        return web.Response(text="<html>")
    if body["method"] == "large":
        return web.Response(text='"' + "x" * 3_000 + '"')
    return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": body["params"]})


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    application = web.Application()
    application.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with Client(f"http://127.0.0.1:{port}/") as opened:
        yield opened
    await runner.cleanup()


async def test_results_and_refusals(client: Client) -> None:
    assert await client.call("echo", 1, "two") == [1, "two"]
    assert await client.at("901").call("echo") == []
    with pytest.raises(RpcError, match="nonce too low") as caught:
        await client.call("refused")
    assert (caught.value.code, caught.value.fields["number"]) == ("nonce_too_low", -32000)


async def test_batches_keep_their_order_are_split_and_name_missing_answers(client: Client) -> None:
    count = RPC_BATCH_ITEMS_MAX + 7
    values: list[object] = list(range(count))
    values[3] = "lost"
    results = await client.batch([("echo", (value,)) for value in values])
    assert isinstance(results[3], RpcError)
    assert results[3].code == "answer_missing"
    assert [result for at, result in enumerate(results) if at != 3] == [value for value in values if value != "lost"]


async def test_what_is_no_node_is_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NodeUnreachable, match="is it a Plait node"):
        await client.call("html")
    monkeypatch.setattr("plait.client.jsonrpc.CLIENT_RESPONSE_BYTES_MAX", 1_000)
    with pytest.raises(NodeUnreachable, match="larger than 1000 bytes"):
        await client.call("large")


async def test_no_listener_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with Client(f"http://127.0.0.1:{held.getsockname()[1]}") as client:
            with pytest.raises(NodeUnreachable, match="start one with `plait devnet`"):
                await client.call("eth_chainId")
