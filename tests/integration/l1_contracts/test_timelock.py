"""Nothing that an owner may do happens before its delay is over, and no administrator stands above that."""

from __future__ import annotations

from typing import Any

import pytest
from contracts_l1 import L1
from web3.contract import Contract

pytestmark = pytest.mark.node_js

DAY = 86_400
ZERO32 = bytes(32)
PROPOSER, STRANGER = 1, 2


@pytest.fixture
def timelock(l1: L1) -> Contract:
    return l1.deploy("Timelock", 2 * DAY, [l1.accounts[PROPOSER]])


def announcement(target: Contract, name: str, *arguments: Any) -> tuple[Any, ...]:
    return (target.address, 0, target.encode_abi(name, list(arguments)), ZERO32, ZERO32)


def test_an_owners_call_waits_its_delay(l1: L1, timelock: Contract) -> None:
    """Announced by a proposer, carried out by anybody, no second before the delay and only once."""
    token = l1.deploy("PlaitToken", timelock.address, 100)
    what = announcement(token, "transfer", l1.accounts[5], 40)
    assert (
        l1.refused(timelock.functions.schedule(*what, 2 * DAY), sender=STRANGER)[0]
        == "AccessControlUnauthorizedAccount"
    )
    assert (
        l1.refused(timelock.functions.schedule(*what, 2 * DAY - 1), sender=PROPOSER)[0] == "TimelockInsufficientDelay"
    )
    assert l1.refused(timelock.functions.execute(*what), sender=STRANGER)[0] == "TimelockUnexpectedOperationState"
    l1.send(timelock.functions.schedule(*what, 2 * DAY), sender=PROPOSER, what="Timelock.schedule")
    l1.warp(2 * DAY - 10)
    assert l1.refused(timelock.functions.execute(*what), sender=PROPOSER)[0] == "TimelockUnexpectedOperationState"
    l1.warp(10)
    l1.send(timelock.functions.execute(*what), sender=STRANGER, what="Timelock.execute")
    assert token.functions.balanceOf(l1.accounts[5]).call() == 40
    assert l1.refused(timelock.functions.execute(*what), sender=PROPOSER)[0] == "TimelockUnexpectedOperationState"


def test_an_announcement_can_be_taken_back(l1: L1, timelock: Contract) -> None:
    """A proposer cancels while it waits; a stranger does not."""
    what = announcement(timelock, "updateDelay", 3 * DAY)
    l1.send(timelock.functions.schedule(*what, 2 * DAY), sender=PROPOSER)
    number = timelock.functions.hashOperation(*what).call()
    assert l1.refused(timelock.functions.cancel(number), sender=STRANGER)[0] == "AccessControlUnauthorizedAccount"
    l1.send(timelock.functions.cancel(number), sender=PROPOSER)
    l1.warp(3 * DAY)
    assert l1.refused(timelock.functions.execute(*what), sender=PROPOSER)[0] == "TimelockUnexpectedOperationState"


def test_the_delay_has_a_floor(l1: L1, timelock: Contract) -> None:
    """No timelock begins below a day, none gets there, and only the timelock itself changes its delay."""
    loaded = l1.at("Timelock", timelock.address)
    assert loaded.functions.DELAY_MIN().call() == DAY
    with pytest.raises(AssertionError, match="DelayBelowFloor"):
        l1.deploy("Timelock", DAY - 1, [l1.accounts[PROPOSER]])
    assert l1.refused(timelock.functions.updateDelay(3 * DAY), sender=PROPOSER)[0] == "TimelockUnauthorizedCaller"
    for delay, done in ((DAY - 1, False), (DAY, True)):
        what = announcement(timelock, "updateDelay", delay)
        l1.send(timelock.functions.schedule(*what, 2 * DAY), sender=PROPOSER)
        l1.warp(2 * DAY)
        if done:
            l1.send(timelock.functions.execute(*what), sender=STRANGER)
        else:
            assert l1.refused(timelock.functions.execute(*what), sender=STRANGER)[0] == "DelayBelowFloor"
    assert timelock.functions.getMinDelay().call() == DAY


def test_nobody_administers_it(l1: L1, timelock: Contract) -> None:
    """Roles are granted by the timelock alone: not by its deployer, not by a proposer."""
    role, proposer = bytes(timelock.functions.DEFAULT_ADMIN_ROLE().call()), timelock.functions.PROPOSER_ROLE().call()
    for account in l1.accounts:
        assert not timelock.functions.hasRole(role, account).call()
    for sender in (0, PROPOSER):
        call = timelock.functions.grantRole(proposer, l1.accounts[STRANGER])
        assert l1.refused(call, sender=sender)[0] == "AccessControlUnauthorizedAccount"
