"""The provider over JSON-RPC: answers that come in parts are put together, answers that are none are refused by name;
and a node puts a block's validators together from CometBFT's pages."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from plait.client.light import RpcProvider
from plait.errors import LightRefused, Unavailable
from plait.light import decode_light_block, encode_light_block
from plait.light.blocks import encode_commit, encode_header, encode_validators
from plait.rpc.errors import RpcError
from plait.rpc.methods.proofs import get_light_block
from plait.types import Height, RollupId, Slot
from tests.unit.light.light_chains import Chain

ROLLUP = RollupId(901)
Answer = Callable[[str, list[Any], bool], Any]
"""From method, parameters, and whether it came in a batch, to the result, or to an error of JSON-RPC."""


class Failure(Exception):
    """An error answer: its number and code."""


@asynccontextmanager
async def provider_of(answer: Answer) -> AsyncIterator[RpcProvider]:
    """A provider of an HTTP server that answers so."""

    def one(asked: dict[str, Any], in_batch: bool) -> dict[str, Any]:
        told = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            return told | {"result": answer(asked["method"], asked["params"], in_batch)}
        except Failure as failure:
            number, code = failure.args
            return told | {"error": {"code": number, "message": "no", "data": {"code": code}}}

    async def serve(request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response([one(each, True) for each in asked] if isinstance(asked, list) else one(asked, False))

    application = web.Application()
    application.router.add_post("/", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with RpcProvider(f"http://127.0.0.1:{runner.addresses[0][1]}") as provider:
            yield provider
    finally:
        await runner.cleanup()


async def test_headers_that_come_in_parts_are_put_together() -> None:
    asked: list[tuple[int, int]] = []

    def answer(method: str, params: list[Any], in_batch: bool) -> Any:
        asked.append((params[0], params[1]))
        return [f"0x{height:04x}" for height in range(params[0], min(params[1], params[0] + 2) + 1)]

    async with provider_of(answer) as provider:
        headers = await provider.sub_block_headers(Height(5), Height(11))
    assert headers == [height.to_bytes(2, "big") for height in range(5, 12)]
    assert asked == [(5, 11), (8, 11), (11, 11)]


async def test_items_for_which_a_batch_has_no_room_are_asked_for_alone() -> None:
    alone: list[int] = []

    def answer(method: str, params: list[Any], in_batch: bool) -> Any:
        if in_batch and params[0] % 2:
            raise Failure(-32003, "response_too_large")
        if not in_batch:
            alone.append(params[0])
        return [f"0x{params[0]:02x}"]

    async with provider_of(answer) as provider:
        items = await provider.sub_block_items([Height(height) for height in range(1, 6)], ROLLUP)
    assert items == [[bytes([height])] for height in range(1, 6)]
    assert alone == [1, 3, 5]


async def test_a_refusal_of_the_node_keeps_its_code() -> None:
    def answer(method: str, params: list[Any], in_batch: bool) -> Any:
        raise Failure(-32000, "height_unknown")

    async with provider_of(answer) as provider:
        for call in (
            provider.light_block(Height(1)),
            provider.heights_of_slots(Slot(1), Slot(2)),
            provider.sub_block_headers(Height(1), Height(2)),
            provider.sub_block_items([Height(1)], ROLLUP),
        ):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.code == "height_unknown"


@pytest.mark.parametrize("result", [None, 7, "0x", {}, [], [7], ["12"], ["0x1"], ["0xzz"], ["0x01"] * 3, [[]], True])
async def test_answers_that_are_none_are_refused(result: Any) -> None:
    async with provider_of(lambda method, params, in_batch: result) as provider:
        calls = [
            provider.light_block(None),
            provider.heights_of_slots(Slot(1), Slot(2)),
            provider.sub_block_headers(Height(1), Height(2)),
        ]
        if result not in ([], ["0x01"] * 3):  # these are items
            calls.append(provider.sub_block_items([Height(1)], ROLLUP))
        for call in calls:
            with pytest.raises(LightRefused) as caught:
                await call
            assert caught.value.code == "light_answer_malformed"


# ---------------------------------------------------------------- the node's side
class Pages:
    """CometBFT's RPC over one block, in pages."""

    def __init__(self, chain: Chain) -> None:
        self.block = chain.block(1)

    async def commit(self, height: int | None = None) -> dict[str, Any]:
        return {
            "signed_header": {"header": encode_header(self.block.header), "commit": encode_commit(self.block.commit)}
        }

    async def validators(self, height: int | None = None, page: int = 1, per_page: int = 100) -> dict[str, Any]:
        assert height == 1
        shown = encode_validators(self.block.validators)
        part = shown[(page - 1) * per_page : page * per_page]
        return {"validators": part, "count": str(len(part)), "total": str(len(shown))}


@pytest.mark.parametrize("count", [1, 100, 101, 250])
async def test_validators_are_put_together_from_pages(count: int) -> None:
    comet = Pages(Chain(1, lambda height: tuple((number, 1) for number in range(count))))
    endpoint: Any = SimpleNamespace(backend=SimpleNamespace(comet=comet))
    shown = await get_light_block(endpoint, None)
    assert shown == encode_light_block(comet.block)
    block = decode_light_block(shown)
    block.check(block.header.chain_id)


@pytest.mark.parametrize("answer", [{}, {"signed_header": None}, {"signed_header": {"header": {"height": "x"}}}])
async def test_an_answer_of_cometbft_that_cannot_be_read(answer: dict[str, Any]) -> None:
    async def commit(height: int | None = None) -> dict[str, Any]:
        return answer

    endpoint: Any = SimpleNamespace(backend=SimpleNamespace(comet=SimpleNamespace(commit=commit)))
    with pytest.raises(RpcError) as caught:
        await get_light_block(endpoint, 1)
    assert caught.value.data["code"] == "light_block_unavailable"
