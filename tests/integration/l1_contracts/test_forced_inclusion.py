"""A forced request reaches the rollup by the portal's own path, and what L1 says of its deadline is what happened."""

from __future__ import annotations

import msgspec
import pytest
from contracts_l1 import L1
from forced_world import BOND, CHALLENGE_S, CLAIMED, INCLUDED, OPEN, OVERDUE, ROLLUP_ID, WINDOW_S, Forced, deposits_of
from validators import checksummed, members, raw

from plait.derivation.deposits import L1Log, deposit_of_log
from plait.l1.contract_proofs import alias_of
from plait.types import Hash32

pytestmark = pytest.mark.node_js

REQUESTER, PROVER, OTHER = 1, 4, 5


@pytest.fixture
def world(l1: L1) -> Forced:
    return Forced(l1)


def balance(l1: L1, account: int) -> int:
    return int(l1.web3.eth.get_balance(l1.accounts[account]))


def test_a_request_is_a_deposit_of_the_users_own_sender(l1: L1, world: Forced) -> None:
    """The portal's event carries the call; on the rollup it comes from an address that is this user's alone."""
    call = world.functions.force(ROLLUP_ID, l1.accounts[3], 7, 60_000, False, b"\x01\x02")
    receipt = l1.send(
        call, sender=REQUESTER, value=9, what="ForcedInclusion.force, 60,000 L2 gas, first request of a user"
    )
    (log,) = [one for one in receipt["logs"] if one["address"] == world.portal.address]
    topics = tuple(bytes(topic) for topic in log["topics"])
    found = deposit_of_log(L1Log(raw(log["address"]), topics, bytes(log["data"]), log["logIndex"]), Hash32(bytes(32)))
    own = raw(world.functions.senderOf(l1.accounts[REQUESTER]).call())
    assert found.sender == alias_of(own) == raw(world.functions.senderOnRollup(l1.accounts[REQUESTER]).call())
    assert (found.to, found.mint, found.value, found.gas_limit) == (raw(l1.accounts[3]), 9, 7, 60_000)
    assert found.data == b"\x01\x02"
    assert (
        world.functions.senderOf(l1.accounts[OTHER]).call() != world.functions.senderOf(l1.accounts[REQUESTER]).call()
    )
    request = world.functions.requestAt(1).call()
    assert request[0] == l1.accounts[REQUESTER]
    assert request[3] == l1.web3.eth.get_block(receipt["blockNumber"])["timestamp"] + WINDOW_S


def test_a_users_sender_obeys_nobody_else(l1: L1, world: Forced) -> None:
    """Calling a user's sender directly does nothing, for the user, a stranger and a contract alike."""
    world.force(sender=REQUESTER)
    sender = l1.at("ForcedSender", world.functions.senderOf(l1.accounts[REQUESTER]).call())
    call = sender.functions.deposit(world.portal.address, l1.accounts[3], 0, 60_000, False, b"")
    assert l1.refused(call, sender=REQUESTER)[0] == "NotDesk"
    assert l1.refused(call, sender=OTHER)[0] == "NotDesk"
    agent = l1.deploy("Agent")
    data = sender.encode_abi("deposit", [world.portal.address, l1.accounts[3], 0, 60_000, False, b""])
    assert l1.refused(agent.functions.act(sender.address, data))[0] == "NotDesk"


def test_what_the_portal_refuses_is_no_request(l1: L1, world: Forced) -> None:
    """An unknown rollup, too little gas, a creation with a target: nothing is recorded, nothing is kept."""
    for arguments, error in (
        ((902, l1.accounts[3], 0, 60_000, False, b""), "RollupUnknown"),
        ((ROLLUP_ID, l1.accounts[3], 0, 20_999, False, b""), "OptimismPortal_GasLimitTooLow"),
        ((ROLLUP_ID, l1.accounts[3], 0, 60_000, True, b""), "OptimismPortal_BadTarget"),
        ((ROLLUP_ID, l1.accounts[3], 0, 30_000_000, False, b""), "OutOfGas"),
    ):
        assert l1.refused(world.functions.force(*arguments), value=5)[0] == error
    assert world.functions.requestCount().call() == 0
    assert l1.web3.eth.get_balance(world.desk.address) == 0


@pytest.mark.parametrize("ancestors", [0, 5])
def test_an_inclusion_is_proven(l1: L1, world: Forced, ancestors: int) -> None:
    """The rollup's executed block, sealed in a sub-block before the checkpoint, closes the request; once."""
    number, receipt = world.force(value=3, mint=5, data=b"\xab" * 100)
    proof = world.included(receipt, ancestors=ancestors)
    assert world.state(number) == OPEN
    l1.send(
        world.prove(number, proof), sender=PROVER, what=f"ForcedInclusion.prove, sub-block headers: {ancestors + 1}"
    )
    assert world.state(number) == INCLUDED
    assert l1.refused(world.prove(number, proof), sender=PROVER)[0] == "WrongState"
    l1.warp(WINDOW_S + 1)
    assert not world.functions.overdue(number).call()
    assert l1.refused(world.functions.claim(number), sender=REQUESTER, value=BOND)[0] == "WrongState"


def test_an_included_creation_is_proven(l1: L1, world: Forced) -> None:
    """A forced creation has no target in its deposit and is recognised."""
    zero = "0x" + "00" * 20
    receipt = l1.send(world.functions.force(ROLLUP_ID, zero, 0, 200_000, True, bytes.fromhex("600160005500")))
    l1.send(world.prove(1, world.included(receipt)))
    assert world.state(1) == INCLUDED


def test_a_deposit_among_many_is_proven(l1: L1, world: Forced) -> None:
    """In a block of 140 transactions, inline and hashed trie nodes alike, each request's deposit is found."""
    number, receipt = world.force()
    ((deposit, log_index),) = deposits_of(receipt)
    _, other = world.force(sender=OTHER)
    ((filler, _),) = deposits_of(other)
    at = 131
    block = world.seal(receipt, [filler] * (at - 1) + [deposit] + [filler] * 8)
    height = world.commit([block], time_ms=l1.now() * 1_000)
    assert l1.refused(world.prove(number, world.proof(height, block, at - 1, log_index)))[0] == "NotThisDeposit"
    l1.send(world.prove(number, world.proof(height, block, at, log_index)), what="ForcedInclusion.prove, block of 140")


def test_two_equal_requests_need_two_inclusions(l1: L1, world: Forced) -> None:
    """One inclusion never answers for another request, though sender, call and value are the same."""
    first, receipt = world.force()
    second, receipt_2 = world.force()
    proof = world.included(receipt)
    assert l1.refused(world.prove(second, proof))[0] == "NotThisDeposit"
    l1.send(world.prove(first, proof))
    assert l1.refused(world.prove(second, proof))[0] == "NotThisDeposit"
    l1.send(world.prove(second, world.included(receipt_2)))


def test_two_equal_requests_of_one_transaction_need_two_inclusions(l1: L1, world: Forced) -> None:
    """Even of one L1 block they are two deposits, told apart by their log: an inclusion serves once."""
    aggregate = l1.deploy("Multicall")
    data = world.desk.encode_abi("force", [ROLLUP_ID, l1.accounts[3], 0, 60_000, False, b""])
    receipt = l1.send(aggregate.functions.aggregate3([(world.desk.address, False, data)] * 2))
    (first, first_log), (second, second_log) = deposits_of(receipt)
    block = world.seal(receipt, [first, second])
    height = world.commit([block], time_ms=l1.now() * 1_000)
    l1.send(world.prove(1, world.proof(height, block, 1, first_log)))
    assert l1.refused(world.prove(2, world.proof(height, block, 1, first_log))) == ("InclusionUsed", (1,))
    l1.send(world.prove(2, world.proof(height, block, 2, second_log)))


def test_false_inclusions_are_refused(l1: L1, world: Forced) -> None:
    """Another's deposit, a block that no sub-block sealed, another header or log, or a torn proof prove nothing."""
    number, receipt = world.force()
    _, receipt_other = world.force(sender=OTHER)
    proof = world.included(receipt)
    replace = msgspec.structs.replace
    foreign = world.included(receipt_other)
    assert l1.refused(world.prove(number, foreign))[0] == "NotThisDeposit"
    assert l1.refused(world.prove(number, replace(proof, log_index=proof.log_index + 1)))[0] == "NotThisDeposit"
    assert l1.refused(world.prove(number, replace(proof, transaction_index=0)))[0] == "TrieProofTraversalError"
    assert l1.refused(world.prove(number, replace(proof, trie_proof=proof.trie_proof[:-1])))[0] != ""
    assert l1.refused(world.prove(number, replace(proof, block_header=foreign.block_header)))[0] == "NotSealed"
    ((deposit, log_index),) = deposits_of(receipt)
    unsealed = world.seal(receipt, [deposit])
    height = world.commit([], time_ms=l1.now() * 1_000)
    assert l1.refused(world.prove(number, world.proof(height, unsealed, 1, log_index)))[0] == "NotSealed"
    unknown = replace(proof, sub_block=replace(proof.sub_block, checkpoint=99))
    assert l1.refused(world.prove(number, unknown))[0] == "CheckpointUnknown"
    assert l1.refused(world.prove(number + 2, proof))[0] == "WrongState"
    assert world.state(number) == OPEN


def test_a_late_inclusion_is_no_answer(l1: L1, world: Forced) -> None:
    """What counts is the agreed time of the sub-block that sealed it: the deadline itself is in time, later is not."""
    number, receipt = world.force()
    deadline = world.functions.requestAt(number).call()[3]
    late = world.included(receipt, time_ms=deadline * 1_000 + 1)
    assert l1.refused(world.prove(number, late))[0] == "TooLate"
    other, receipt_2 = world.force()
    deadline = world.functions.requestAt(other).call()[3]
    l1.send(world.prove(other, world.included(receipt_2, time_ms=deadline * 1_000)))


def test_a_missed_deadline_is_recorded(l1: L1, world: Forced) -> None:
    """Claimed after the deadline with a bond, answered by nobody, settled: counted, and the bond comes back."""
    number, _ = world.force()
    assert l1.refused(world.functions.claim(number), sender=REQUESTER, value=BOND)[0] == "NotYet"
    assert not world.functions.overdue(number).call()
    l1.warp(WINDOW_S + 1)
    assert world.functions.overdue(number).call()
    assert l1.refused(world.functions.claim(number), sender=OTHER, value=BOND)[0] == "NotRequester"
    assert l1.refused(world.functions.claim(number), sender=REQUESTER, value=BOND - 1)[0] == "BondWrong"
    assert l1.refused(world.functions.claim(number), sender=REQUESTER, value=BOND + 1)[0] == "BondWrong"
    l1.send(world.functions.claim(number), sender=REQUESTER, value=BOND, what="ForcedInclusion.claim")
    assert l1.refused(world.functions.claim(number), sender=REQUESTER, value=BOND)[0] == "WrongState"
    assert l1.refused(world.functions.settle(number), sender=OTHER)[0] == "NotYet"
    l1.warp(CHALLENGE_S + 1)
    l1.send(world.functions.settle(number), sender=OTHER, what="ForcedInclusion.settle")
    assert (world.state(number), world.functions.overdueCount(ROLLUP_ID).call()) == (OVERDUE, 1)
    assert l1.refused(world.functions.settle(number), sender=OTHER)[0] == "WrongState"
    before = balance(l1, PROVER)
    l1.send(world.functions.withdraw(l1.accounts[PROVER]), sender=REQUESTER, what="ForcedInclusion.withdraw")
    assert balance(l1, PROVER) == before + BOND
    assert l1.refused(world.functions.withdraw(l1.accounts[PROVER]), sender=REQUESTER)[0] == "NothingToWithdraw"


def test_a_false_claim_pays_who_answers(l1: L1, world: Forced) -> None:
    """A claim against an inclusion in time falls, and its bond is the prover's; after the challenge time it stands."""
    number, receipt = world.force()
    proof = world.included(receipt)
    l1.warp(WINDOW_S + 1)
    l1.send(world.functions.claim(number), sender=REQUESTER, value=BOND)
    assert world.state(number) == CLAIMED
    l1.send(world.prove(number, proof), sender=PROVER, what="ForcedInclusion.prove, against a claim")
    assert world.functions.credit(l1.accounts[PROVER]).call() == BOND
    l1.warp(CHALLENGE_S + 1)
    assert l1.refused(world.functions.settle(number))[0] == "WrongState"
    second, receipt_2 = world.force()
    proof_2 = world.included(receipt_2)
    l1.warp(WINDOW_S + 1)
    l1.send(world.functions.claim(second), sender=REQUESTER, value=BOND)
    l1.warp(CHALLENGE_S + 1)
    assert l1.refused(world.prove(second, proof_2), sender=PROVER)[0] == "TooLate"


def test_a_block_hash_is_kept_for_later(l1: L1, world: Forced) -> None:
    """Anybody anchors a request's L1 block; from then on neither claim nor answer depends on what the EVM remembers."""
    number, receipt = world.force()
    other, _ = world.force()
    proof = world.included(receipt)
    assert world.functions.requestAt(number).call()[6] == bytes(32)
    l1.send(world.functions.anchor(number), sender=OTHER, what="ForcedInclusion.anchor")
    assert world.functions.requestAt(number).call()[6] == bytes(receipt["blockHash"])
    assert l1.refused(world.functions.anchor(99))[0] == "WrongState"
    l1.rpc("anvil_setCode", "0x0000F90827F1C53a10cb7A02335B175320002935", "0x")  # an L1 without EIP-2935
    l1.rpc("anvil_mine", hex(300))
    l1.send(world.functions.anchor(number))
    l1.send(world.prove(number, proof))
    l1.warp(WINDOW_S + 1)
    assert l1.refused(world.functions.claim(other), sender=REQUESTER, value=BOND)[0] == "BlockHashGone"


def test_a_halt_stops_the_clock_of_answers(l1: L1, world: Forced) -> None:
    """While the registry is halted nobody can answer, so no claim is settled; a restart grants the time anew."""
    number, receipt = world.force()
    proof = world.included(receipt)
    l1.warp(WINDOW_S + 1)
    l1.send(world.functions.claim(number), sender=REQUESTER, value=BOND)
    l1.send(world.registry.checkpoint(50, b"\x01" * 32))
    l1.send(world.registry.checkpoint(50, b"\x02" * 32))
    assert l1.refused(world.prove(number, proof), sender=PROVER)[0] == "RegistryHalted"
    l1.warp(CHALLENGE_S + 1)
    assert l1.refused(world.functions.settle(number))[0] == "RegistryHalted"
    l1.send(world.registry.by_timelock("restart", checksummed(members([1], first=80), l1), 60))
    assert l1.refused(world.functions.settle(number))[0] == "NotYet"
    l1.send(world.prove(number, proof), sender=PROVER)
    assert world.state(number) == INCLUDED


@pytest.mark.parametrize(("manner", "paid"), [(0, True), (1, False), (2, False), (3, True)])
def test_payouts_neither_hang_nor_pay_twice(l1: L1, world: Forced, manner: int, paid: bool) -> None:
    """A payee that refuses or burns all gas blocks itself alone, one that calls back gets its credit once, and
    everybody else's money stays where it was."""
    agent = l1.deploy("Agent")
    data = world.desk.encode_abi("force", [ROLLUP_ID, l1.accounts[3], 0, 60_000, False, b""])
    l1.send(agent.functions.act(world.desk.address, data))
    other, _ = world.force()
    l1.warp(WINDOW_S + 1)
    claim = world.desk.encode_abi("claim", [1])
    l1.send(agent.functions.act(world.desk.address, claim), value=BOND)
    l1.send(world.functions.claim(other), sender=REQUESTER, value=BOND)
    l1.warp(CHALLENGE_S + 1)
    l1.send(world.functions.settle(1), sender=OTHER)
    l1.send(world.functions.settle(other), sender=OTHER)
    withdraw = world.desk.encode_abi("withdraw", [agent.address])
    l1.send(agent.functions.receiveBy(manner, world.desk.address, withdraw))
    call = agent.functions.act(world.desk.address, withdraw)
    if paid:
        l1.send(call)
        assert l1.web3.eth.get_balance(agent.address) == BOND
        assert agent.functions.callsBack().call() == (1 if manner == 3 else 0)
        assert agent.functions.callsBackDone().call() == 0
    else:
        assert l1.refused(call)[0] == "TransferFailed"
        assert world.functions.credit(agent.address).call() == BOND
        elsewhere = world.desk.encode_abi("withdraw", [l1.accounts[OTHER]])
        l1.send(agent.functions.act(world.desk.address, elsewhere))
    assert l1.web3.eth.get_balance(world.desk.address) == BOND
    l1.send(world.functions.withdraw(l1.accounts[REQUESTER]), sender=REQUESTER)
    assert l1.web3.eth.get_balance(world.desk.address) == 0


def test_spam_costs_the_spammer_alone(l1: L1, world: Forced) -> None:
    """A request after fifty of another user costs its own user what it cost before them."""
    _, before = world.force(sender=REQUESTER)
    _, again = world.force(sender=REQUESTER, what="ForcedInclusion.force, 60,000 L2 gas, a later request")
    for _ in range(50):
        world.force(sender=OTHER)
    number, after = world.force(sender=REQUESTER)
    assert after["gasUsed"] <= again["gasUsed"] + 100
    assert before["gasUsed"] > after["gasUsed"]
    l1.send(world.prove(number, world.included(after)))


def test_terms_must_be_possible(l1: L1, world: Forced) -> None:
    """No window or no challenge time, or more than a year of either: not deployed."""
    year = 365 * 86_400
    for window, challenge in ((0, 1), (1, 0), (year + 1, 1), (1, year + 1), (2**64 - 1, 2**64 - 1)):
        with pytest.raises(AssertionError, match="TimesOutOfBounds"):
            l1.deploy("ForcedInclusion", world.registry.contract.address, window, challenge, BOND)
