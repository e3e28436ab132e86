"""What an engine is refused for: one clear reason that says what to do, and the driver goes on once it is put right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from driven_chain import Chain
from engine_fixtures import Drivers, Engines
from engine_processes import free_ports

from plait.derivation.rollup_config import BlockId
from plait.errors import ConfigurationError
from plait.rollups.opstack.checks import check_engine, probe
from plait.rollups.opstack.driver_state import DriverState, EngineStatus
from plait.rollups.opstack.engine_client import EngineClient
from plait.types import BlockNumber, ChainId, Hash32

pytestmark = [pytest.mark.opgeth]

WAIT_S = 60


def refused(code: str, state: DriverState = DriverState.STOPPED) -> Callable[[EngineStatus], bool]:
    return lambda now: now.code == code and now.state is state


async def test_a_wrong_secret_chain_genesis_or_fork_is_refused_by_name(engines: Engines, drivers: Drivers) -> None:
    chain = Chain()
    chain.grow(3)
    engine = engines.started(chain)
    other_genesis = json.loads(chain.genesis)
    other_genesis["gasLimit"] = hex(29_000_000)
    strange = engines.started(chain, genesis=json.dumps(other_genesis).encode())
    isthmus = Chain(fork="isthmus")
    # the same genesis block, and yet another fork: the fork's time is no part of the block
    later = json.loads(chain.genesis)
    del later["config"]["jovianTime"]
    behind = engines.started(chain, genesis=json.dumps(later).encode())
    cases = [
        ("engine_jwt_refused", "secret file", drivers.run(engine.url, bytes(32), chain)),
        ("engine_jwt_refused", "secret file", drivers.run(engine.url, None, chain)),
        ("engine_chain_mismatch", "902", drivers.run(engine.url, engine.secret, Chain(chain_id=902))),
        ("engine_genesis_mismatch", "genesis", drivers.run(strange.url, strange.secret, chain)),
        ("engine_genesis_mismatch", "genesis", drivers.run(engine.url, engine.secret, isthmus, fork="isthmus")),
        ("engine_fork_mismatch", "jovian", drivers.run(behind.url, behind.secret, chain)),
        ("engine_fork_mismatch", "isthmus", drivers.run(engine.url, engine.secret, chain, fork="isthmus")),
        ("engine_fork_mismatch", "karst", drivers.run(engine.url, engine.secret, chain, fork="karst")),
        ("engine_fork_mismatch", "holocene", drivers.run(engine.url, engine.secret, chain, fork="holocene")),
    ]
    healthy = drivers.run(engine.url, engine.secret, chain)
    for code, word, driver in cases:
        status = await driver.wait_until(refused(code), WAIT_S)
        assert word in status.message
        assert engine.secret.hex() not in status.message
        assert status.imported == 0
    await healthy.wait_for(BlockNumber(3), WAIT_S)
    assert behind.head()[0] == 0


async def test_an_engine_at_karst_is_asked_by_its_methods(engines: Engines) -> None:
    chain = Chain()
    karst = json.loads(chain.genesis)
    karst["config"] |= {"osakaTime": 0, "karstTime": 0}
    engine = engines.started(chain, genesis=json.dumps(karst).encode())
    first = BlockId(
        BlockNumber(0), Hash32(bytes.fromhex(engine.eth.call("eth_getBlockByNumber", "0x0", False)["hash"][2:]))
    )
    async with EngineClient(engine.url, engine.secret) as client:
        await check_engine(client, ChainId(901), first, "karst")
        head = await client.block("latest")
        assert head is not None
        built = await probe(client, head, "karst")
        assert built is not None
        status = await client.new_payload(built.payload_json, built.parent_beacon_block_root, "karst")
        assert status.status == "VALID", status
        with pytest.raises(ConfigurationError) as caught:
            await check_engine(client, ChainId(901), first, "jovian")
        assert caught.value.code == "engine_fork_mismatch"
    assert engine.head()[0] == 0


async def test_an_engine_put_right_is_followed_without_a_restart_of_ours(engines: Engines, drivers: Drivers) -> None:
    chain = Chain()
    chain.grow(3)
    later = json.loads(chain.genesis)
    del later["config"]["jovianTime"]
    engine = engines.make(chain, genesis=json.dumps(later).encode())
    driver = drivers.run(engine.url, engine.secret, chain)
    await driver.wait_until(refused("engine_unreachable", DriverState.CONNECTING), WAIT_S)
    engine.start()
    await driver.wait_until(refused("engine_fork_mismatch"), WAIT_S)
    engine.stop()
    engine.start("--override.jovian", "0")
    await driver.wait_for(BlockNumber(3), WAIT_S)


@asynccontextmanager
async def between(url: str, change: Callable[[dict[str, Any], Any], Any]):
    """A proxy before an engine that changes answers: `change(request, result)` gives the result that is passed on."""
    async with aiohttp.ClientSession() as session:

        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            headers = {name: request.headers[name] for name in ("Authorization", "Content-Type")}
            async with session.post(url, data=body, headers=headers) as response:
                answer = json.loads(await response.read())
            asked = json.loads(body)
            if isinstance(asked, dict) and "result" in answer:
                answer["result"] = change(asked, answer["result"])
            return web.Response(text=answer if isinstance(answer, str) else json.dumps(answer))

        application = web.Application(client_max_size=2**26)
        application.router.add_post("/", handle)
        runner = web.AppRunner(application)
        await runner.setup()
        port = free_ports(1)[0]
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await runner.cleanup()


@pytest.mark.parametrize("lies", [1, 1_000_000], ids=["once", "always"])
async def test_an_engine_that_calls_a_block_invalid_and_builds_it_is_asked_again_and_then_stopped(
    engines: Engines, drivers: Drivers, lies: int
) -> None:
    chain = Chain()
    chain.grow(2)
    engine = engines.started(chain)
    left = lies

    def lie(request: dict[str, Any], result: Any) -> Any:
        nonlocal left
        if request["method"] != "engine_newPayloadV4" or request["params"][0]["blockNumber"] != "0x3" or left == 0:
            return result
        left -= 1
        return {"status": "INVALID", "latestValidHash": None, "validationError": "says the test"}

    async with between(engine.url, lie) as url:
        driver = drivers.run(url, engine.secret, chain)
        await driver.wait_for(BlockNumber(2), WAIT_S)
        chain.grow(1)
        driver.notify()
        if lies == 1:
            await driver.wait_for(BlockNumber(3), WAIT_S)
            assert driver.status.evidence == ""
            return
        status = await driver.wait_until(lambda now: now.evidence != "", WAIT_S)
        assert (status.state, status.code) == (DriverState.STOPPED, "engine_block_refused")
        assert "says the test" in status.message
        left = 0
        driver.notify()
        await asyncio.sleep(0.3)
        assert driver.status.state is DriverState.STOPPED, "only a replaced block or its operator lets it go on"
        driver.resume()
        await driver.wait_for(BlockNumber(3), WAIT_S)


async def test_answers_that_are_no_answers_stop_nothing_but_this_rollup(engines: Engines, drivers: Drivers) -> None:
    chain = Chain()
    chain.grow(2)
    engine = engines.started(chain)
    spoiled: Any = "nonsense"
    others = [{"payloadStatus": {"status": "FINE"}}, [], {"payloadStatus": None, "payloadId": 7}]

    def spoil(request: dict[str, Any], result: Any) -> Any:
        return spoiled if request["method"] == "engine_forkchoiceUpdatedV3" and spoiled is not None else result

    async with between(engine.url, spoil) as url:
        driver = drivers.run(url, engine.secret, chain)
        await driver.wait_until(refused("engine_answer_malformed"), WAIT_S)
        for other in others:
            spoiled = other
            await asyncio.sleep(0.4)
            assert driver.status.code in {"engine_answer_malformed", ""}
        spoiled = None
        await driver.wait_for(BlockNumber(2), WAIT_S)
