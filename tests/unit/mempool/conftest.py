"""A real network of one process and its pool, with a few funded users."""

from collections.abc import Callable

import pytest

from plait.errors import TransactionRefused
from plait.mempool import Admitted
from plait.types import RollupId
from sim.pooling import USERS, PooledNetwork


@pytest.fixture
def network() -> PooledNetwork:
    return PooledNetwork(USERS)


@pytest.fixture
def send(network: PooledNetwork) -> Callable[..., list[Admitted | TransactionRefused]]:
    def submit(*raws: bytes, rollup_id: int = 901) -> list[Admitted | TransactionRefused]:
        return network.pool.submit(RollupId(rollup_id), raws, network.time_ms)

    return submit
