"""An anvil and an L1 client for each test; both end with it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from anvil_l1 import Anvil

from plait.l1.client import L1Client


@pytest.fixture
def anvil(tmp_path: Path) -> Iterator[Anvil]:
    found = Anvil(tmp_path / "anvil")
    found.start()
    yield found
    found.stop()


@pytest.fixture
async def client(anvil: Anvil) -> AsyncIterator[L1Client]:
    async with L1Client(anvil.url) as found:
        yield found
