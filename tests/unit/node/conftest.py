"""Networks for the node's tests: real nodes in this process, short slots, the public development accounts."""

import time
from collections.abc import Callable

import pytest

from plait.node.config import NetworkConfig, RollupConfig
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from sim.wallet import Wallet


@pytest.fixture
def network() -> Callable[..., NetworkConfig]:
    def make(*, age_s: int = 1, sub_blocks: int = 4, rollups: int = 2) -> NetworkConfig:
        return NetworkConfig(
            genesis_time_s=int(time.time()) - age_s,
            sub_blocks_per_slot=sub_blocks,
            rollups=tuple(RollupConfig(chain_id=901 + at) for at in range(rollups)),
        )

    return make


@pytest.fixture(scope="session")
def wallets() -> list[Wallet]:
    return [Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS]


@pytest.fixture
def transfer(wallets: list[Wallet]) -> Callable[..., bytes]:
    def sign(chain_id: int, nonce: int, sender: int = 0) -> bytes:
        return wallets[sender].sign_1559(chain_id, nonce, to=bytes([7]) * 20, value=1, max_fee_per_gas=10**10)

    return sign
