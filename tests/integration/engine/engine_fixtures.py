"""Engines and drivers of one test."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from driven_chain import Chain
from engine_processes import EngineProcess

from plait.rollups.opstack.blocks import Blocks, NativeBlocks
from plait.rollups.opstack.driver import DriverSettings, EngineDriver
from plait.rollups.opstack.engine_client import EngineClient


class Engines:
    """Starts engines in directories of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: list[EngineProcess] = []

    def make(self, chain: Chain, *, genesis: bytes | None = None) -> EngineProcess:
        found = EngineProcess(
            genesis if genesis is not None else chain.genesis, self._directory / str(len(self._made)), chain.chain_id
        )
        self._made.append(found)
        return found

    def started(self, chain: Chain, *flags: str, genesis: bytes | None = None) -> EngineProcess:
        found = self.make(chain, genesis=genesis)
        found.start(*flags)
        return found

    def close(self) -> None:
        for process in self._made:
            process.close()


class Drivers:
    """Runs drivers as tasks."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tasks: list[asyncio.Task[None]] = []

    def run(
        self, url: str, secret: bytes | None, source: Chain | Blocks, *, fork: Any = "jovian", settled: Any = None,
        **settings: Any,
    ) -> EngineDriver:  # fmt: skip
        settings = {"evidence_dir": self._directory, "idle_check_s": 0.2, "recheck_s": 0.3} | settings
        blocks = NativeBlocks(source.rollup) if isinstance(source, Chain) else source
        more = {} if settled is None else {"settled": settled}
        driver = EngineDriver(EngineClient(url, secret), blocks, fork, settings=DriverSettings(**settings), **more)
        self._tasks.append(asyncio.create_task(driver.run()))
        return driver

    async def close(self) -> None:
        for task in self._tasks:
            assert not task.done(), "a driver's task never ends by itself"
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
