"""One running node of two rollups per module."""

import time
from collections.abc import Iterator

import pytest

from plait.rpc import RpcConfig
from sim.listening import Running, running


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    for found in running(RpcConfig(port=0, rollup_port_base=0)):
        while any(rollup["openBlock"] is None for rollup in found.call("plait_rollups", rollup=None)):
            time.sleep(0.05)
        yield found
