"""Random traffic over both bridges of two rollups: value is conserved at every step, and every message arrives once."""

from __future__ import annotations

import os
from random import Random

import pytest

from plait.interop.cycles import SameTimeExecution, chains_in_cycles
from plait.interop.identifiers import LogIndex
from plait.interop.messages import ETH_BRIDGE, ETH_LIQUIDITY, TOKEN_BRIDGE, executing_messages
from plait.interop.validity import refuse_execution
from plait.rollups.embedded.genesis import ETH_LIQUIDITY_BALANCE
from plait.types import Seconds
from tests.unit.interop.pair import (
    ALICE,
    BOB,
    SET,
    STRANGER,
    TOKEN,
    A,
    Pair,
    Sent,
    Side,
    calldata,
    relay,
    sent_messages,
)

STEPS = 60
SEEDS = [int(os.environ["PLAIT_SEED"])] if "PLAIT_SEED" in os.environ else list(range(6))


def conserved(pair: Pair, ether: list[int], minted: int, flying: list[tuple[Side, Sent, str, int]]) -> None:
    """Ether per rollup is constant; liquidity and token supply differ from the start by what is in flight."""
    assert [pair.a.ether(), pair.b.ether()] == ether
    ether_flying = sum(amount for _, _, kind, amount in flying if kind == "ether")
    tokens_flying = sum(amount for _, _, kind, amount in flying if kind == "token")
    liquidity = pair.a.balance(ETH_LIQUIDITY) + pair.b.balance(ETH_LIQUIDITY)
    assert liquidity == 2 * ETH_LIQUIDITY_BALANCE + ether_flying
    supply = pair.a.ask(TOKEN, "totalSupply()") + pair.b.ask(TOKEN, "totalSupply()")
    assert supply == minted - tokens_flying


@pytest.mark.parametrize("seed", SEEDS)
def test_value_is_conserved(seed: int) -> None:
    """Sends, relays in any order, late, twice or with a wrong list, blocks between: nothing is made or lost."""
    print(f"replay: PLAIT_SEED={seed} pytest {__file__}")
    random = Random(seed)
    pair = Pair()
    sides = [pair.a, pair.b]
    for side in sides:
        side.deploy_token()
        side.execute(ALICE, TOKEN, calldata("mint(address,uint256)", ALICE.address, 1_000))
    minted = 2_000
    ether = [side.ether() for side in sides]
    flying: list[tuple[Side, Sent, str, int]] = []
    landed: list[tuple[Side, Sent]] = []
    executions: list[SameTimeExecution] = []
    for _ in range(STEPS):
        side, other = random.sample(sides, 2)
        action = random.randrange(10)
        if action < 5:
            to = random.choice([ALICE.address, BOB.address, STRANGER])
            amount = random.randrange(300)
            kind = random.choice(["ether", "token"])
            if kind == "ether":
                data, target = calldata("sendETH(address,uint256)", to, other.chain_id), ETH_BRIDGE
                executed = side.execute(ALICE, target, data, value=amount)
            else:
                data = calldata("sendERC20(address,address,uint256,uint256)", TOKEN, to, amount, other.chain_id)
                executed = side.execute(ALICE, TOKEN_BRIDGE, data)
            sent = sent_messages(side, executed)
            assert len(sent) == executed.status
            flying += [(other, message, kind, amount) for message in sent]
        elif action < 8 and flying:
            destination, sent_message, kind, amount = flying.pop(random.randrange(len(flying)))
            if random.randrange(4) == 0:  # first without its access list
                assert relay(destination, sent_message, access_list=[]).status == 0
            access = sent_message.access
            assert refuse_execution(SET, destination.chain_id, destination.timestamp, access, pair.lookup) is None
            executed = relay(destination, sent_message)
            assert executed.status == 1, executed.failure
            landed.append((destination, sent_message))
            ((index, message),) = executing_messages([log for _, log in executed.logs], LogIndex(executed.logs[0][0]))
            if message.identifier.timestamp == destination.timestamp:
                executions.append(
                    SameTimeExecution(
                        chain_id=destination.chain_id,
                        log_index=index,
                        source_chain_id=message.identifier.chain_id,
                        source_log_index=message.identifier.log_index,
                    )
                )
        elif action == 8 and landed:
            destination, sent_message = random.choice(landed)
            assert relay(destination, sent_message).status == 0
        else:
            assert chains_in_cycles(executions) == (), f"seed {seed}"
            executions.clear()
            for one in sides:
                one.advance(Seconds(pair.a.timestamp + 2 if one.chain_id == A else pair.a.timestamp))
        conserved(pair, ether, minted, flying)
    for destination, sent_message, _, _ in flying:
        assert relay(destination, sent_message).status == 1
    conserved(pair, ether, minted, [])
