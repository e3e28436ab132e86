"""Random traffic over both bridges of two rollups: value is conserved at every step, and every message arrives once."""

from __future__ import annotations

import os

import pytest

from plait.interop.messages import ETH_LIQUIDITY
from plait.rollups.embedded.genesis import ETH_LIQUIDITY_BALANCE
from tests.unit.interop.message_traffic import Traffic
from tests.unit.interop.pair import TOKEN, relay

STEPS = 60
SEEDS = [int(os.environ["PLAIT_SEED"])] if "PLAIT_SEED" in os.environ else list(range(6))


def conserved(traffic: Traffic, ether: list[int]) -> None:
    """Ether per rollup is constant; liquidity and token supply differ from the start by what is in flight."""
    assert [side.ether() for side in traffic.sides] == ether
    ether_flying = sum(amount for _, _, kind, amount in traffic.flying if kind == "ether")
    tokens_flying = sum(amount for _, _, kind, amount in traffic.flying if kind == "token")
    liquidity = sum(side.balance(ETH_LIQUIDITY) for side in traffic.sides)
    assert liquidity == 2 * ETH_LIQUIDITY_BALANCE + ether_flying
    supply = sum(side.ask(TOKEN, "totalSupply()") for side in traffic.sides)
    assert supply == traffic.minted - tokens_flying


@pytest.mark.parametrize("seed", SEEDS)
def test_value_is_conserved(seed: int) -> None:
    """D3: sends, relays in any order, late, twice or with a wrong list, blocks between: nothing is made or lost."""
    print(f"replay: PLAIT_SEED={seed} .venv/bin/pytest tests/property/interop/test_bridges_conserve.py")
    traffic = Traffic(seed)
    ether = [side.ether() for side in traffic.sides]
    for _ in range(STEPS):
        traffic.step()
        conserved(traffic, ether)
    assert traffic.landed, "nothing was relayed: the seed shows nothing"
    for destination, sent, _, _ in traffic.flying:
        assert relay(destination, sent).status == 1
    traffic.flying.clear()
    conserved(traffic, ether)
