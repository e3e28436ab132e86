"""A real node with its server in a thread of its own; tests talk to it over real sockets like any client."""

from collections.abc import Iterator

import pytest

from plait.rpc import RpcConfig
from sim.listening import Running, running


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    yield from running(RpcConfig(port=0, rollup_port_base=0))


@pytest.fixture(scope="module")
def open_node() -> Iterator[Running]:
    """One that a web page and a host name are configured for."""
    config = RpcConfig(port=0, rollup_port_base=None, hosts=("node.example",), origins=("https://app.example",))
    yield from running(config)
