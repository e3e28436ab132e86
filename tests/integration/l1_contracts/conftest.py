"""One anvil for all tests of a worker; every test begins at the same state of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contracts_l1 import L1


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[L1]:
    found = L1(tmp_path_factory.mktemp("l1"))
    yield found
    found.stop()


@pytest.fixture
def l1(anvil: L1) -> Iterator[L1]:
    snapshot = anvil.rpc("evm_snapshot")
    anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))  # a snapshot does not hold it
    yield anvil
    anvil.rpc("evm_revert", snapshot)
