"""One running node of two rollups per module."""

from collections.abc import Iterator

import pytest

from plait.rpc import RpcConfig
from sim.listening import Running, running_with_blocks


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    yield from running_with_blocks(RpcConfig(port=0, rollup_port_base=0))
