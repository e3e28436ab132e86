"""Question: what does Plait add to the time that an op-geth needs for the same block?

A block of 500 ERC-20 transfers. The engine alone: forkchoiceUpdated with the transactions forced, getPayload,
newPayload, forkchoiceUpdated, over one kept-alive connection, nothing else: what building and importing a block costs
whoever drives it. Plait, in two ways that a node has: `import` executes and seals the block itself and hands it over
(the engine does not build), `build` has the engine build it too and compares the hashes. Three op-geths of one genesis
get the same blocks one after the other, in an order that changes with every block; all hashes are equal.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench import floor, workload
from bench.engine_api import payload_attributes
from bench.report import Result, median
from plait.native import Rollup, Store, recovery_forget
from plait.rollups.opstack.blocks import NativeBlocks
from plait.rollups.opstack.driver import DriverSettings, EngineDriver
from plait.rollups.opstack.engine_client import EngineClient
from plait.types import BlockNumber, RollupParameters

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "integration" / "engine"))

TRANSACTIONS = 500


def direct(engine: Any, rules: RollupParameters, head: str, number: int, raws: list[bytes]) -> tuple[str, float]:
    """The engine's own work for a block: its hash, and the seconds it took."""
    state = {"headBlockHash": head, "safeBlockHash": "0x" + "00" * 32, "finalizedBlockHash": "0x" + "00" * 32}
    body = payload_attributes(rules, number, raws)
    started = time.perf_counter()
    answer = engine.call("engine_forkchoiceUpdatedV3", state, body)
    payload = engine.call("engine_getPayloadV4", answer["payloadId"])["executionPayload"]
    status = engine.call("engine_newPayloadV4", payload, [], body["parentBeaconBlockRoot"], [])
    engine.call("engine_forkchoiceUpdatedV3", {**state, "headBlockHash": payload["blockHash"]}, None)
    seconds = time.perf_counter() - started
    assert status["status"] == "VALID", json.dumps(status)
    return payload["blockHash"], seconds


class Driven:
    """A rollup of the native core and the driver of its engine."""

    def __init__(self, genesis: bytes, url: str, secret: bytes, mode: Any) -> None:
        self.rollup = Rollup.from_genesis(genesis, Store.in_memory())
        self.driver = EngineDriver(
            EngineClient(url, secret), NativeBlocks(self.rollup), settings=DriverSettings(mode=mode)
        )
        self.whole_s: list[float] = []
        self.driver_s: list[float] = []

    async def block(self, rules: RollupParameters, number: int, raws: list[bytes]) -> None:
        """Executes, seals and drives a block; notes both times."""
        recovery_forget()
        started = time.perf_counter()
        floor.one_block(self.rollup, rules, number, raws)
        sealed = time.perf_counter()
        self.driver.notify()
        await self.driver.wait_for(BlockNumber(number), 60)
        done = time.perf_counter()
        self.whole_s.append(done - started)
        self.driver_s.append(done - sealed)


@contextlib.asynccontextmanager
async def running(*driven: Driven) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(item.driver.run()) for item in driven]
    try:
        for item in driven:
            await item.driver.wait_for(BlockNumber(0), 60)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def measure(blocks: int, folder: Path) -> tuple[list[float], Driven, Driven]:
    from engine_processes import EngineProcess, JsonRpc

    transfers = workload.make(floor.CHAIN_ID, TRANSACTIONS * 2, blocks // 2 + 1)
    known = [*transfers.senders, *transfers.recipients]
    genesis = workload.genesis_with_token(transfers.chain_id, floor.GENESIS_TIME_S, known, transfers.senders)
    rules = floor.parameters()
    engines = [EngineProcess(genesis, folder / name, floor.CHAIN_ID) for name in ("direct", "import", "build")]
    alone_s: list[float] = []
    with contextlib.ExitStack() as stack:
        for engine in engines:
            stack.callback(engine.close)
            engine.start()
        peer = JsonRpc(engines[0].engine_port, engines[0].secret)
        importing = Driven(genesis, engines[1].url, engines[1].secret, "import")
        building = Driven(genesis, engines[2].url, engines[2].secret, "build")
        head = "0x" + importing.rollup.genesis_hash.hex()
        async with running(importing, building):
            for number, raws in enumerate(transfers.rounds(TRANSACTIONS)[: blocks + 1], 1):
                for turn in range(3):
                    match (turn + number) % 3:
                        case 0:
                            head, seconds = direct(peer, rules, head, number, raws)
                            alone_s.append(seconds)
                        case 1:
                            await importing.block(rules, number, raws)
                        case _:
                            await building.block(rules, number, raws)
                assert head == "0x" + importing.rollup.head.hash.hex() == "0x" + building.rollup.head.hash.hex()
        assert engines[1].head()[1] == engines[2].head()[1] == importing.rollup.head.hash
    return alone_s[1:], importing, building


def run(quick: bool = False) -> Result:
    blocks = 5 if quick else 30
    with tempfile.TemporaryDirectory() as folder:
        alone_s, importing, building = asyncio.run(measure(blocks, Path(folder)))
    alone = median(alone_s)
    result = Result("engine_driver")
    result.figure("op-geth alone: builds and imports the block", alone * 1e3, "ms")
    for name, driven in (("import", importing), ("build", building)):
        result.figure(f"Plait, {name}: executes, seals, drives", median(driven.whole_s[1:]) * 1e3, "ms")
        result.figure(f"Plait, {name}: drives alone", median(driven.driver_s[1:]) * 1e3, "ms")
    result.ratio("import: Plait in all / op-geth alone", median(importing.whole_s[1:]) / alone, at_most=1.15)
    result.ratio("build: the driver / op-geth alone", median(building.driver_s[1:]) / alone, at_most=1.15)
    result.ratio("build: Plait in all / op-geth alone (executes twice)", median(building.whole_s[1:]) / alone)
    result.note("import is the default; build repeats in the engine what the native core has done already")
    result.note(f"{blocks} blocks of {TRANSACTIONS} ERC-20 transfers; every block hash equal; medians")
    return result
