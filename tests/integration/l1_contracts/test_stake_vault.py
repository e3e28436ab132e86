"""Stake leaves L1's vault only as the ledger says, once, after its time, and never more than was left for it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from contracts_l1 import CHAIN_ID, L1
from sub_blocks import Chain, account, ledger
from validators import DAY, Registry, checksummed, members, raw, signed
from web3.contract import Contract
from web3.logs import DISCARD

from plait.l1.attestations import L1Contract, slash_digest
from plait.l1.contract_proofs import account_proof, as_abi, exit_account
from plait.limits import L1_VAULT_DEPOSITS_MAX
from plait.types import Address

pytestmark = pytest.mark.node_js

PLAIT = 10**18
UNBONDING_S = 3 * DAY
FUNDS = 10_000 * PLAIT
STAKER, ANYBODY, OTHER = 1, 2, 3


class World:
    """A vault with funds, its registry, and ledgers whose exit accounts have balances."""

    def __init__(self, l1: L1, token: str = "PlaitToken") -> None:
        self.l1 = l1
        self.registry = Registry(l1)
        self.token: Contract = l1.deploy(token, l1.accounts[STAKER], FUNDS)
        self.vault = l1.deploy("StakeVault", self.token.address, self.registry.contract.address, UNBONDING_S)
        self.functions = self.vault.functions
        self.height = 0

    def deposit(self, amount: int, *, sender: int = STAKER, to: Address | None = None) -> Any:
        """Approves, and gives the call that deposits."""
        self.l1.send(self.token.functions.approve(self.vault.address, amount), sender=sender)
        beneficiary = self.l1.web3.to_checksum_address("0x" + (to or account(1)).hex())
        return self.functions.deposit(beneficiary, amount)

    def exit_of(self, recipient: int) -> Address:
        return exit_account(CHAIN_ID, raw(self.vault.address), raw(self.l1.accounts[recipient]))

    def checkpointed(self, exits: Mapping[int, int]) -> Chain:
        """A chain of one more sub-block whose ledger has these balances in exit accounts, and its checkpoint."""
        balances = {self.exit_of(recipient): balance for recipient, balance in exits.items()}
        fill = {account(number): 1 for number in range(40)}
        chain = Chain(ledger({**fill, **balances}))
        self.height += 1
        for _ in range(self.height):
            chain.add()
        self.l1.send(self.registry.checkpoint(self.height, chain.made[-1].app_hash))
        return chain

    def request(self, chain: Chain, recipient: int, *, proven: int | None = None) -> Any:
        """The call that asks for a recipient's exit balance, with a proof of that or of another's account."""
        proof = account_proof(chain.state, self.exit_of(recipient if proven is None else proven))
        where = chain.proof(chain.height, chain.height)
        return self.functions.request(self.l1.accounts[recipient], as_abi(where), as_abi(proof))

    def requested(self, recipient: int, balance: int) -> int:
        """A withdrawal that waits; its id."""
        self.l1.send(self.request(self.checkpointed({recipient: balance}), recipient))
        return int(self.functions.withdrawalCount().call())

    def slash(self, number: int, amount: int, *, nonce: int = 0, epoch: int | None = None, places: Any = None) -> Any:
        """The call that slashes a withdrawal, signed by validators at `places`."""
        digest = slash_digest(
            L1Contract(CHAIN_ID, raw(self.vault.address)),
            epoch=self.registry.epoch if epoch is None else epoch,
            withdrawal_id=number,
            amount=amount,
            nonce=nonce,
        )
        signatures = signed(self.registry.set, digest, places)
        return self.functions.slash(number, amount, self.registry.listed(), signatures)

    def balance(self, number: int) -> int:
        return int(self.token.functions.balanceOf(self.l1.accounts[number]).call())

    def held(self) -> int:
        return int(self.token.functions.balanceOf(self.vault.address).call())


@pytest.fixture
def world(l1: L1) -> World:
    made = World(l1)
    l1.send(made.deposit(1_000 * PLAIT), sender=STAKER, what="StakeVault.deposit")
    return made


def test_deposits_are_numbered_for_the_ledger(l1: L1, world: World) -> None:
    """Each deposit locks its tokens and is announced with its number, its account and its amount."""
    for number, amount in ((1, PLAIT), (2, 3 * PLAIT)):
        receipt = l1.send(world.deposit(amount, to=account(7)), sender=STAKER)
        (event,) = world.vault.events.Deposited().process_receipt(receipt, errors=DISCARD)
        assert event["args"]["nonce"] == number
        assert raw(event["args"]["account"]) == account(7)
        assert event["args"]["amount"] == amount
    assert world.held() == 1_004 * PLAIT


def test_a_block_takes_as_many_deposits_as_the_ledger_can_hold(l1: L1, world: World) -> None:
    """Agreed data of an L1 block hold DEPOSITS_PER_BLOCK_MAX deposits; one more is refused, the next block takes it."""
    assert world.functions.DEPOSITS_PER_BLOCK_MAX().call() == L1_VAULT_DEPOSITS_MAX
    call = world.deposit(PLAIT)
    l1.send(world.token.functions.approve(world.vault.address, 10**30), sender=STAKER)
    before = world.held()
    terms = call.build_transaction({"from": l1.accounts[STAKER], "gas": 150_000, "gasPrice": 10**10, "value": 0})
    nonce = l1.web3.eth.get_transaction_count(l1.accounts[STAKER])
    l1.rpc("evm_setAutomine", False)
    try:
        sent = [
            l1.rpc("eth_sendTransaction", {"from": terms["from"], "to": terms["to"], "data": terms["data"],
                                           "gas": hex(150_000), "gasPrice": hex(10**11), "nonce": hex(nonce + at)})
            for at in range(L1_VAULT_DEPOSITS_MAX + 1)
        ]  # fmt: skip
        l1.rpc("evm_mine")
    finally:
        l1.rpc("evm_setAutomine", True)
    receipts = [l1.web3.eth.get_transaction_receipt(one) for one in sent]
    assert len({receipt["blockNumber"] for receipt in receipts}) == 1
    assert [receipt["status"] for receipt in receipts] == [1] * L1_VAULT_DEPOSITS_MAX + [0]
    assert world.held() == before + L1_VAULT_DEPOSITS_MAX * PLAIT
    l1.send(call, sender=STAKER)


def test_dust_and_nobodys_deposits_are_refused(l1: L1, world: World) -> None:
    """Less than one PLAIT, no account, more than approved or owned: nothing is taken."""
    assert l1.refused(world.deposit(PLAIT - 1), sender=STAKER)[0] == "DepositTooSmall"
    assert l1.refused(world.deposit(2 * PLAIT, to=Address(bytes(20))), sender=STAKER)[0] == "AccountZero"
    call = world.deposit(2 * PLAIT)
    assert l1.refused(call, sender=OTHER)[0] == "ERC20InsufficientAllowance"
    assert l1.refused(world.deposit(2 * FUNDS), sender=STAKER)[0] == "ERC20InsufficientBalance"
    assert (
        l1.refused(world.functions.deposit(l1.accounts[1], 2**256 - 1), sender=STAKER)[0]
        == "ERC20InsufficientAllowance"
    )
    assert world.held() == 1_000 * PLAIT


def test_exit_accounts_are_the_contracts(l1: L1, world: World) -> None:
    """Python and the vault name the same exit account, and it is another one for another recipient or vault."""
    twin = World(l1)
    seen = set()
    for one in (world, twin):
        for recipient in (STAKER, OTHER):
            found = raw(one.functions.exitAccount(l1.accounts[recipient]).call())
            assert found == one.exit_of(recipient)
            seen.add(found)
    assert len(seen) == 4


def test_a_withdrawal_waits_its_time_and_is_paid_once(l1: L1, world: World) -> None:
    """Proven, requested by anybody, paid to the recipient after the unbonding and not before, never again."""
    chain = world.checkpointed({OTHER: 40 * PLAIT})
    call = world.request(chain, OTHER)
    receipt = l1.send(call, sender=ANYBODY, what="StakeVault.request, a ledger of 41 accounts")
    (event,) = world.vault.events.Requested().process_receipt(receipt)
    assert (event["args"]["recipient"], event["args"]["amount"]) == (l1.accounts[OTHER], 40 * PLAIT)
    assert l1.refused(world.functions.claim(1), sender=OTHER)[0] == "NotYet"
    l1.warp(UNBONDING_S - 10)
    assert l1.refused(world.functions.claim(1), sender=OTHER)[0] == "NotYet"
    l1.warp(11)
    l1.send(world.functions.claim(1), sender=ANYBODY, what="StakeVault.claim")
    assert (world.balance(OTHER), world.balance(ANYBODY)) == (40 * PLAIT, 0)
    assert l1.refused(world.functions.claim(1), sender=OTHER)[0] == "AlreadyPaid"
    assert l1.refused(world.functions.claim(2), sender=OTHER)[0] == "WithdrawalUnknown"
    assert l1.refused(call, sender=ANYBODY) == ("NothingNew", (40 * PLAIT, 40 * PLAIT))
    assert (world.held(), world.functions.waiting().call()) == (960 * PLAIT, 0)


def test_only_what_is_new_is_released(l1: L1, world: World) -> None:
    """Proofs show a sum: the second releases the difference, an older one nothing, in whatever order they come."""
    older = world.checkpointed({OTHER: 10 * PLAIT})
    newer = world.checkpointed({OTHER: 25 * PLAIT})
    l1.send(world.request(older, OTHER))
    l1.send(world.request(newer, OTHER))
    assert [world.functions.withdrawalAt(number).call()[3] for number in (1, 2)] == [10 * PLAIT, 15 * PLAIT]
    assert l1.refused(world.request(older, OTHER))[0] == "NothingNew"
    assert l1.refused(world.request(newer, OTHER))[0] == "NothingNew"
    other_first = world.checkpointed({STAKER: 9 * PLAIT})
    l1.send(world.request(other_first, STAKER))
    assert world.functions.waiting().call() == 34 * PLAIT


def test_nobody_withdraws_anothers_balance(l1: L1, world: World) -> None:
    """A proof of another account, of another vault's exit account, or for the zero address is worth nothing."""
    chain = world.checkpointed({OTHER: 40 * PLAIT, STAKER: PLAIT})
    assert l1.refused(world.request(chain, ANYBODY, proven=OTHER))[0] == "ProofWrong"
    assert l1.refused(world.request(chain, STAKER, proven=OTHER))[0] == "ProofWrong"
    twin = World(l1)
    foreign = twin.checkpointed({OTHER: 40 * PLAIT})
    proof = account_proof(foreign.state, twin.exit_of(OTHER))
    where = foreign.proof(1, 1)
    call = world.functions.request(l1.accounts[OTHER], as_abi(where), as_abi(proof))
    assert l1.refused(call)[0] == "HeaderWrong"
    zero = world.functions.request("0x" + "00" * 20, as_abi(where), as_abi(proof))
    assert l1.refused(zero)[0] == "AccountZero"


def test_an_unsigned_state_proves_nothing(l1: L1, world: World) -> None:
    """Without a checkpoint of more than two thirds there is no withdrawal."""
    chain = Chain(ledger({world.exit_of(OTHER): 40 * PLAIT}))
    chain.add()
    assert l1.refused(world.request(chain, OTHER))[0] == "CheckpointUnknown"
    assert l1.refused(world.registry.checkpoint(1, chain.made[0].app_hash, [0, 1]))[0] == "PowerTooLow"
    assert l1.refused(world.request(chain, OTHER))[0] == "CheckpointUnknown"


def test_stake_is_slashed_while_it_waits(l1: L1, world: World) -> None:
    """A quorum burns a part; the order is for this withdrawal, amount, number and set, and works once."""
    number, other = world.requested(OTHER, 40 * PLAIT), world.requested(STAKER, 40 * PLAIT)
    supply = world.token.functions.totalSupply().call()
    assert l1.refused(world.slash(number, 15 * PLAIT, places=[0, 1]))[0] == "PowerTooLow"
    assert l1.refused(world.slash(number, 41 * PLAIT))[0] == "SlashTooLarge"
    assert l1.refused(world.slash(number, 15 * PLAIT, nonce=1))[0] == "PowerTooLow"
    assert l1.refused(world.slash(number, 15 * PLAIT, epoch=2))[0] == "PowerTooLow"
    assert l1.refused(world.slash(9, PLAIT))[0] == "WithdrawalUnknown"
    good = world.slash(number, 15 * PLAIT)
    redirected = world.functions.slash(other, *good.args[1:])
    assert l1.refused(redirected)[0] == "PowerTooLow"
    more = world.functions.slash(number, 16 * PLAIT, *good.args[2:])
    assert l1.refused(more)[0] == "PowerTooLow"
    l1.send(good, sender=ANYBODY, what="StakeVault.slash, 4 validators")
    assert l1.refused(good)[0] == "PowerTooLow"
    l1.send(world.slash(number, 5 * PLAIT, nonce=1))
    assert world.token.functions.totalSupply().call() == supply - 20 * PLAIT
    l1.warp(UNBONDING_S + 10)
    l1.send(world.functions.claim(number))
    l1.send(world.functions.claim(other))
    assert (world.balance(OTHER), world.held()) == (20 * PLAIT, 920 * PLAIT)
    assert l1.refused(world.slash(number, 1, nonce=2))[0] == "AlreadyPaid"


def test_stake_that_waited_long_enough_is_free(l1: L1, world: World) -> None:
    """After the unbonding nothing is slashed any more, claimed or not."""
    number = world.requested(OTHER, 40 * PLAIT)
    l1.warp(UNBONDING_S + 10)
    assert l1.refused(world.slash(number, PLAIT))[0] == "TooLate"
    l1.send(world.functions.claim(number))


def test_another_vaults_slash_is_worth_nothing(l1: L1, world: World) -> None:
    """The same order signed for a vault beside it is refused here."""
    number = world.requested(OTHER, 40 * PLAIT)
    digest = slash_digest(
        L1Contract(CHAIN_ID, raw(world.token.address)), epoch=1, withdrawal_id=number, amount=PLAIT, nonce=0
    )
    elsewhere = slash_digest(
        L1Contract(1, raw(world.vault.address)), epoch=1, withdrawal_id=number, amount=PLAIT, nonce=0
    )
    for wrong in (digest, elsewhere, world.registry.checkpoint_digest(number, b"\x01" * 32)):
        call = world.functions.slash(number, PLAIT, world.registry.listed(), signed(world.registry.set, wrong))
        assert l1.refused(call)[0] == "PowerTooLow"


def test_a_halted_registry_pays_nothing(l1: L1, world: World) -> None:
    """A contradiction freezes withdrawals; after a restart they wait anew, so that the new set can slash the false."""
    number = world.requested(OTHER, 40 * PLAIT)
    l1.send(world.registry.checkpoint(1, b"\x01" * 32))
    l1.warp(UNBONDING_S + 10)
    assert l1.refused(world.functions.claim(number))[0] == "RegistryHalted"
    after = members([1, 1, 1], first=90)
    l1.send(world.registry.by_timelock("restart", checksummed(after, l1), 50))
    world.registry.set = after
    assert l1.refused(world.functions.claim(number))[0] == "NotYet"
    l1.send(world.slash(number, 40 * PLAIT))
    l1.warp(UNBONDING_S + 10)
    l1.send(world.functions.claim(number))
    assert (world.balance(OTHER), world.held()) == (0, 960 * PLAIT)


def test_the_vault_pays_no_more_than_it_holds(l1: L1, world: World) -> None:
    """What the ledger has beyond the deposits waits for funds; others are paid meanwhile."""
    large, small = world.requested(OTHER, 1_001 * PLAIT), world.requested(ANYBODY, 30 * PLAIT)
    l1.warp(UNBONDING_S + 10)
    assert l1.refused(world.functions.claim(large))[0] == "ERC20InsufficientBalance"
    l1.send(world.functions.claim(small))
    l1.send(world.deposit(31 * PLAIT), sender=STAKER)
    l1.send(world.functions.claim(large))
    assert (world.balance(OTHER), world.balance(ANYBODY), world.held()) == (1_001 * PLAIT, 30 * PLAIT, 0)


def test_a_token_that_calls_back_gains_nothing(l1: L1) -> None:
    """Claim, deposit, request and slash from within a transfer: refused or without effect; every sum stays right."""
    world = World(l1, "HookToken")
    l1.send(world.deposit(100 * PLAIT), sender=STAKER)
    number = world.requested(OTHER, 10 * PLAIT)
    second = world.requested(ANYBODY, 20 * PLAIT)
    slash = world.slash(second, PLAIT)
    again = world.request(world.checkpointed({OTHER: 10 * PLAIT}), OTHER)
    inner = [
        world.vault.encode_abi("claim", [number]),
        world.vault.encode_abi("claim", [second]),
        world.vault.encode_abi("deposit", [l1.accounts[1], PLAIT]),
        world.vault.encode_abi("slash", list(slash.args)),
        world.vault.encode_abi("request", list(again.args)),
    ]
    agent = l1.deploy("Agent")
    for attempt, data in enumerate(inner):
        snapshot = l1.rpc("evm_snapshot")
        l1.send(agent.functions.receiveBy(0, world.vault.address, data))
        l1.send(world.token.functions.setHook(agent.address, 0))
        l1.send(world.deposit(PLAIT), sender=STAKER)
        l1.send(slash)
        l1.warp(UNBONDING_S + 10)
        l1.send(world.functions.claim(number))
        assert agent.functions.callsBack().call() == 3, attempt
        assert agent.functions.callsBackDone().call() == 0, attempt
        assert world.balance(OTHER) == 10 * PLAIT
        assert world.held() == 90 * PLAIT
        l1.rpc("evm_revert", snapshot)


def test_a_token_that_keeps_a_fee_is_refused(l1: L1) -> None:
    """The ledger may count what is announced: a deposit that arrives short is none."""
    world = World(l1, "HookToken")
    l1.send(world.token.functions.setHook("0x" + "00" * 20, 1))
    assert l1.refused(world.deposit(5 * PLAIT), sender=STAKER) == ("TransferDiffers", (5 * PLAIT - 1, 5 * PLAIT))


@pytest.mark.parametrize("seed", range(3))
def test_random_histories_pay_exactly_what_is_due(l1: L1, seed: int) -> None:
    """Growing exits, requests by anybody, slashes and claims in random order: balances follow a model of sums."""
    rng = random.Random(seed)
    world = World(l1)
    l1.send(world.deposit(1_000 * PLAIT), sender=STAKER)
    exits = dict.fromkeys((4, 5, 6), 0)
    released = dict.fromkeys(exits, 0)
    waiting: dict[int, list[int]] = {}
    paid = dict.fromkeys(exits, 0)
    ripe: set[int] = set()
    slashed = 0
    for step in range(14):
        hint = f"seed {seed}, step {step}"
        action = rng.choice(["grow", "grow", "request", "slash", "claim", "wait"])
        if action == "grow":
            recipient = rng.choice(list(exits))
            exits[recipient] += rng.randint(1, 30 * PLAIT)
        elif action == "request" and any(exits.values()):
            recipient = rng.choice([one for one in exits if exits[one]])
            call = world.request(world.checkpointed({one: sum_ for one, sum_ in exits.items() if sum_}), recipient)
            if exits[recipient] == released[recipient]:
                assert l1.refused(call)[0] == "NothingNew", hint
            else:
                l1.send(call, sender=rng.randint(1, 9))
                number = int(world.functions.withdrawalCount().call())
                waiting[number] = [recipient, exits[recipient] - released[recipient], 0]
                released[recipient] = exits[recipient]
        elif action == "slash" and waiting:
            number = rng.choice(list(waiting))
            _, left, nonce = waiting[number]
            amount = rng.randint(0, left)
            call = world.slash(number, amount, nonce=nonce)
            if number in ripe:
                assert l1.refused(call)[0] in ("TooLate", "SetExpired"), hint
            else:
                l1.send(call)
                waiting[number][1:] = [left - amount, nonce + 1]
                slashed += amount
        elif action == "claim" and waiting:
            number = rng.choice(list(waiting))
            if number in ripe:
                l1.send(world.functions.claim(number), sender=rng.randint(1, 9))
                recipient, left, _ = waiting.pop(number)
                paid[recipient] += left
            else:
                assert l1.refused(world.functions.claim(number))[0] == "NotYet", hint
        elif action == "wait":
            l1.send(world.registry.update(world.registry.set, 100 + step))
            world.height = 100 + step
            l1.warp(UNBONDING_S + 10)
            ripe |= set(waiting)
        assert {one: world.balance(one) for one in exits} == paid, hint
        assert world.functions.waiting().call() == sum(left for _, left, _ in waiting.values()), hint
        assert world.held() == 1_000 * PLAIT - slashed - sum(paid.values()), hint


def test_terms_must_be_possible(l1: L1, world: World) -> None:
    """A vault without unbonding, or with more than a year of it, is not deployed."""
    for unbonding in (0, 365 * DAY + 1, 2**64 - 1):
        with pytest.raises(AssertionError, match="UnbondingOutOfBounds"):
            l1.deploy("StakeVault", world.token.address, world.registry.contract.address, unbonding)
