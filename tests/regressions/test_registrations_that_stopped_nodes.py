"""Registrations that made every node stop: a genesis that cannot be made, and an id that came back with another one."""

import pytest
from msgspec.structs import replace

from plait.crypto.actions import recover_action, sign_action
from plait.ledger import registry
from plait.ledger.parameters import TOKEN
from plait.ledger.rollup_records import FORKS, RollupEntry, RollupGenesis, RollupStatus, rollup_key
from plait.ledger.stake_records import Account
from plait.native import Rollup, Store
from plait.protocol.requests import Accepted, PreparedProposal, PrepareRequest
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address, Gas, Hash32, Milliseconds, RollupId, Slot, Wei
from plait.types.action import Body, FundedAccount, LeaveRollup, RegisterRollup, SignedAction
from plait.types.quantities import Amount
from sim.situation import Situation, at_slot, small_network

OWNER = DEVELOPMENT_ACCOUNTS[0]
NEW = RollupId(950)
START = Slot(16)
WRAPPED_ETHER = Address(bytes.fromhex("4200000000000000000000000000000000000006"))


@pytest.fixture
def situation() -> Situation:
    """In slot 1, with an account that can pay."""
    network = small_network()
    economy = network.ledger.economy
    economy = replace(
        economy,
        accounts=economy.accounts.with_changes({OWNER.address: Account(10**6 * TOKEN, 0)}),
        supply=replace(economy.supply, genesis=economy.supply.genesis + 10**6 * TOKEN),
    )
    return at_slot(1, replace(network, ledger=replace(network.ledger, economy=economy)))


def registration(balances: tuple[FundedAccount, ...] = (), base_fee: int = 10**9) -> RegisterRollup:
    """In order but for the hash of its genesis."""
    return RegisterRollup(
        rollup_id=NEW,
        start_slot=START,
        block_time_slots=1,
        gas_limit=Gas(30_000_000),
        ordering=0,
        interop_set=0,
        da_footprint_gas_scalar=0,
        eip1559_denominator=250,
        eip1559_elasticity=6,
        min_base_fee=Wei(0),
        operator_fee_scalar=0,
        operator_fee_constant=0,
        base_fee_scalar=0,
        blob_base_fee_scalar=0,
        fork=2,
        base_fee=Wei(base_fee),
        fee_recipient=OWNER.address,
        balances=balances,
        genesis_hash=Hash32(bytes(32)),
        revenue_recipient=OWNER.address,
        escrow=Amount(200 * TOKEN),
        fee_per_slot_max=Amount(TOKEN),
        fee_per_transaction_max=Amount(TOKEN),
    )


def with_hash(situation: Situation, body: RegisterRollup) -> RegisterRollup:
    entry = RollupEntry(
        rollup_id=NEW,
        owner=OWNER.address,
        status=RollupStatus.PENDING,
        parameters=registry.parameters_of(body),
        genesis=RollupGenesis(
            fork=FORKS[body.fork], base_fee=body.base_fee, fee_recipient=body.fee_recipient, balances=body.balances
        ),
        terms=None,
        revenue_recipient=body.revenue_recipient,
        escrow=body.escrow,
        charged_slot=body.start_slot,
    )
    json = situation.network.source.genesis_json(entry)
    return replace(body, genesis_hash=Hash32(Rollup.from_genesis(json, Store.in_memory()).genesis_hash))


def decided(situation: Situation, *bodies: Body, nonce: int) -> PreparedProposal:
    """One sub-block with these actions, built by one node, checked and decided by both."""
    network_id = situation.network.ledger.parameters.network_id
    actions: list[SignedAction] = [
        recover_action(sign_action(network_id, nonce + at, Amount(TOKEN), body, OWNER.private_key), network_id)
        for at, body in enumerate(bodies)
    ]
    situation.time_ms = Milliseconds(situation.time_ms + 100)
    request = PrepareRequest(height=situation.height, time_ms=situation.time_ms, candidates={}, actions=actions)
    found = situation.proposer.prepare(request)
    assert isinstance(situation.verdict(found.proposal), Accepted)
    situation.decide(found.proposal)
    return found


def test_a_genesis_that_funds_a_predeploy_is_refused(situation: Situation) -> None:
    body = registration((FundedAccount(account=WRAPPED_ETHER, balance=Wei(1)),))
    found = decided(situation, body, nonce=0)
    assert [failed.code for failed in found.actions_failed] == ["rollup_parameters_invalid"]
    economy = situation.judge.ledger.economy
    assert economy.rollups.get(rollup_key(NEW)) is None
    assert economy.accounts.get(OWNER.address) == Account(10**6 * TOKEN, 0), "no trace"


@pytest.mark.parametrize("together", [False, True])
def test_a_cancelled_registration_uses_its_id_up(situation: Situation, together: bool) -> None:
    first, second = with_hash(situation, registration()), with_hash(situation, registration(base_fee=7))
    cancel = LeaveRollup(rollup_id=NEW, at_slot=Slot(99))
    assert not decided(situation, first, nonce=0).actions_failed
    if together:
        found = decided(situation, cancel, second, nonce=1)
    else:
        assert not decided(situation, cancel, nonce=1).actions_failed
        found = decided(situation, second, nonce=2)
    assert [failed.code for failed in found.actions_failed] == ["rollup_departed"]
    while situation.judge.ledger.slot < START + 2:
        situation.time_ms = Milliseconds(situation.time_ms + 900)
        decided(situation, nonce=0)
    assert NEW not in situation.judge.ledger.rollup_ids
