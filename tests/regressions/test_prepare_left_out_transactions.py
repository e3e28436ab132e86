"""What `prepare` returns, `process` accepts, also when leaving a transaction out moves its sender's next one.

Found by the crash test: a proposal whose left-out first transaction had decided the place of its sender's second one
went into the durable log unchecked, and the node refused to start on it (`decided_proposal_invalid`).
"""

import pytest
from eth_account import Account

from plait.native import Store, Transaction, decode_transactions
from plait.node.config import NetworkConfig, RollupConfig, embedded_genesis
from plait.node.joined import source_of
from plait.node.restore import at_genesis
from plait.ordering.queues import Ready, SenderQueue
from plait.protocol.application import Application
from plait.protocol.requests import Accepted, FinalizeRequest, PreparedProposal, PrepareRequest, ProcessRequest
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import OrderingPolicy
from sim.wallet import Wallet

CHAIN = 901
ALICE, BOB = (Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS[:2])


def applications(policy: OrderingPolicy) -> list[Application]:
    network = NetworkConfig(genesis_time_s=1_000, rollups=(RollupConfig(chain_id=CHAIN, ordering=policy),))
    genesis = embedded_genesis(network)
    return [at_genesis(network, genesis, source_of(network), Store.in_memory()) for _ in range(2)]


def ready(*raws: bytes) -> list[Ready]:
    decoded = decode_transactions(raws, CHAIN)
    assert all(isinstance(one, Transaction) for one in decoded), decoded
    return [Ready(one, 1_000 + place) for place, one in enumerate(decoded)]


def decide(apps: list[Application], height: int, queues: list[SenderQueue]) -> PreparedProposal:
    """The first application prepares; the other, which executes everything itself, must accept."""
    time_ms = 1_001_000 + 250 * height
    prepared = apps[0].prepare(PrepareRequest(height=height, time_ms=time_ms, candidates={CHAIN: queues}))
    verdict = apps[1].process(ProcessRequest(height=height, time_ms=time_ms, proposal=prepared.proposal))
    assert isinstance(verdict, Accepted), verdict
    for app in apps:
        app.finalize(FinalizeRequest(height=height, time_ms=time_ms, proposal=prepared.proposal))
        app.commit()
    return prepared


def transfer(wallet: Wallet, nonce: int, mark: int) -> bytes:
    return wallet.sign_1559(CHAIN, nonce, to=bytes([1 + mark]) * 20, value=1, max_fee_per_gas=10**11)


@pytest.mark.parametrize("policy", list(OrderingPolicy))
@pytest.mark.parametrize("mark", range(24))
def test_a_stale_candidate_before_good_ones_of_its_sender(policy: OrderingPolicy, mark: int) -> None:
    apps = applications(policy)
    stale, second, third, other = ready(*(transfer(ALICE, nonce, mark) for nonce in range(3)), transfer(BOB, 0, mark))
    decide(apps, 1, [(stale,)])
    prepared = decide(apps, 2, [(stale, second, third), (other,)])
    assert prepared.transactions == 3
    assert [(one.hash, one.code) for one in prepared.dropped] == [(stale.transaction.hash, "nonce_too_low")]


@pytest.mark.parametrize("policy", list(OrderingPolicy))
def test_an_authorization_that_uses_the_nonce_of_a_waiting_transaction(policy: OrderingPolicy) -> None:
    apps = applications(policy)
    account = Account.from_key(DEVELOPMENT_ACCOUNTS[0].private_key)
    target = "0x" + "42" * 20
    authorization = account.sign_authorization({"chainId": CHAIN, "address": target, "nonce": 1})
    delegating = account.sign_transaction({
        "type": 4, "chainId": CHAIN, "nonce": 0, "to": target, "value": 0, "gas": 100_000, "data": b"",
        "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**6, "authorizationList": [authorization],
    })  # fmt: skip
    queue = ready(bytes(delegating.raw_transaction), transfer(ALICE, 1, 0), transfer(ALICE, 2, 0))
    (other,) = ready(transfer(BOB, 0, 0))
    first = decide(apps, 1, [tuple(queue), (other,)])
    assert first.transactions == 2
    assert [(one.hash, one.code) for one in first.dropped] == [(queue[1].transaction.hash, "nonce_too_low")]
    assert decide(apps, 2, [tuple(queue[2:])]).transactions == 1
