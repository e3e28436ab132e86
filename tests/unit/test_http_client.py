"""Clients of other programs hold no more of an answer than their bound, and say so with their own error."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

import plait.http_client
from plait.engines.cometbft.rpc_client import CometRpc
from plait.errors import PlaitError
from plait.http_client import JSON, AnswerTooLarge, HttpClient
from plait.l1.beacon import BeaconClient
from plait.l1.client import L1Client
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.faces.boost_engine import EngineSide
from plait.types import Hash32, Seconds

CHUNK = b" " * 65_536


@asynccontextmanager
async def serving(chunks: int) -> AsyncIterator[tuple[str, list[int]]]:
    """(URL of a server whose answers have so many chunks, how many of them it got rid of)."""
    sent = [0]

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(chunks):
            await response.write(CHUNK)
            sent[0] += 1
        return response

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", sent
    finally:
        await runner.cleanup()


async def test_an_answer_of_as_many_bytes_as_are_allowed_is_read_and_one_more_is_given_up() -> None:
    async with serving(chunks=2) as (url, _):
        for bound, enough in ((2 * len(CHUNK), True), (2 * len(CHUNK) - 1, False)):
            async with HttpClient(timeout_s=5, answer_bytes_max=bound) as client:
                if enough:
                    assert await client.request("GET", url, headers={}) == (200, 2 * CHUNK)
                else:
                    with pytest.raises(AnswerTooLarge):
                        await client.request("POST", url, headers=JSON, body=b"{}")


async def test_nobody_reads_an_endless_answer_to_its_end() -> None:
    async with serving(chunks=10_000) as (url, sent), HttpClient(timeout_s=5, answer_bytes_max=len(CHUNK)) as client:
        with pytest.raises(AnswerTooLarge):
            await client.request("GET", url, headers={})
    assert sent[0] < 1_000


async def test_a_closed_client_opens_another_session_with_its_next_request() -> None:
    async with serving(chunks=1) as (url, _):
        client = HttpClient(timeout_s=5, answer_bytes_max=len(CHUNK))
        await client.close()
        for _ in range(2):
            assert (await client.request("GET", url, headers={})).status == 200
            await client.close()


async def test_a_request_may_have_a_time_limit_of_its_own() -> None:
    async with serving(chunks=1_000_000) as (url, _), HttpClient(timeout_s=60, answer_bytes_max=2**40) as client:
        with pytest.raises(TimeoutError):
            await client.request("GET", url, headers={}, timeout_s=0.05)


async def _l1(url: str) -> None:
    async with L1Client(url, attempts_max=1) as client:
        await client.chain_id()


async def _beacon(url: str) -> None:
    async with BeaconClient(url, commit=lambda _: bytes(48)) as client:
        await client.blobs(Seconds(1), [Hash32(bytes(32))])


async def _engine(url: str) -> None:
    async with EngineClient(url, bytes(32)) as client:
        await client.chain_id()


async def _boost(url: str) -> None:
    async with EngineSide(url, bytes(32)) as client:
        await client.call("eth_chainId", b"[]")


async def _comet(url: str) -> None:
    async with CometRpc(url) as client:
        await client.status()


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (_l1, "l1_unreachable"),
        (_beacon, "l1_unreachable"),
        (_engine, "engine_answer_malformed"),
        (_boost, "engine_unreachable"),
        (_comet, "comet_rpc_invalid"),
    ],
)
async def test_every_client_names_an_answer_that_is_too_large(
    ask: Callable[[str], Awaitable[None]], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = plait.http_client.HttpClient.__init__

    def small(self: HttpClient, *, timeout_s: float, answer_bytes_max: int) -> None:
        assert answer_bytes_max >= 2**20, "a bound that fits what is asked"
        limited(self, timeout_s=timeout_s, answer_bytes_max=len(CHUNK))

    monkeypatch.setattr(plait.http_client.HttpClient, "__init__", small)
    async with serving(chunks=2) as (url, _):
        with pytest.raises(PlaitError) as refusal:
            await ask(url)
    assert refusal.value.code == code, refusal.value
    words = refusal.value.message
    assert "larger" in words or "more bytes" in words or "above" in words, words
