"""A real node with its server in a thread of its own; properties ask its dispatcher on its own loop."""

from collections.abc import Iterator

import pytest

from plait.rpc import RpcConfig
from sim.listening import Running, running


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    yield from running(RpcConfig(port=0, rollup_port_base=0))
