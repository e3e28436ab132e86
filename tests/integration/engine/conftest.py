"""Engines and drivers of one test; everything ends with it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from engine_fixtures import Drivers, Engines
from engine_processes import can_build

from plait.cli.main import main


@pytest.fixture(autouse=True)
def _needs_op_geth() -> None:
    if not can_build():
        if os.environ.get("CI"):
            pytest.fail("CI must have Go to build op-geth, and has not")
        pytest.skip("op-geth is not in the cache and Go is not installed to build it")


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    found = Engines(tmp_path / "engines")
    yield found
    found.close()


@pytest.fixture
async def drivers(tmp_path: Path) -> AsyncIterator[Drivers]:
    found = Drivers(tmp_path / "evidence")
    yield found
    await found.close()


@pytest.fixture
def plait(capsys: pytest.CaptureFixture[str]) -> Callable[..., Awaitable[tuple[int, str, str]]]:
    """Runs `plait rollup ...` in this process: exit code, output, errors."""

    def run(arguments: tuple[str, ...]) -> int:
        try:
            main(["rollup", *arguments])
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 0
        return 0

    async def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()  # what the drivers logged
        code = await asyncio.to_thread(run, arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
