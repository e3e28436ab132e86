"""Admission: every rule has its code, begins with go-ethereum's words, and leaves nothing behind when it refuses."""

import asyncio
import hashlib
from collections.abc import Callable

import pytest

from plait.errors import TransactionRefused
from plait.limits import POOL_NONCE_GAP_MAX, TRANSACTION_BYTES_MAX
from plait.mempool import Decided, Pool, PoolLimits, Sealed
from plait.mempool.pool import _of_native
from plait.mempool.refusals import REASONS
from plait.native import Refusal, decode_transactions
from plait.protocol.requests import Dropped
from plait.types import OrderingPolicy, RollupId
from sim.pooling import TO, USERS, PooledNetwork, codes, transfer
from sim.wallet import ORDER, Wallet

GWEI = 10**9
ID = RollupId(901)
Send = Callable[..., list]


def refused(results: list) -> TransactionRefused:
    (result,) = results
    assert isinstance(result, TransactionRefused), result
    assert result.message.startswith(REASONS[result.code].phrase)
    assert result.message.endswith(REASONS[result.code].advice)
    return result


# What a client sends -> (code, how go-ethereum's message begins)
CASES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "rlp_malformed", "rlp: "),
    "not rlp": (b"\xff" * 40, "rlp_malformed", "rlp: "),
    "cut": (transfer(0, 0)[:-5], "rlp_malformed", "rlp: "),
    "trailing": (transfer(0, 0) + b"\0", "rlp_trailing_bytes", "rlp: "),
    "deposit": (b"\x7e" + transfer(0, 0)[1:], "transaction_type_unsupported", "transaction type not supported"),
    "blob": (b"\x03" + transfer(0, 0)[1:], "transaction_type_unsupported", "transaction type not supported"),
    "other chain": (transfer(0, 0, chain_id=902), "chain_id_wrong", "invalid sender: invalid chain id"),
    "size": (transfer(0, 0, data=b"\1" * TRANSACTION_BYTES_MAX), "transaction_too_large", "oversized data"),
    "tip": (
        transfer(0, 0, max_fee_per_gas=GWEI, max_priority_fee_per_gas=2 * GWEI),
        "fee_cap_below_tip",
        "max priority fee per gas higher than max fee per gas",
    ),
    "nonce end": (transfer(0, 2**64 - 1), "nonce_max", "nonce has max value"),
    "init code": (
        transfer(0, 0, to=b"", data=b"\0" * 49_153, gas_limit=5_000_000),
        "init_code_too_large",
        "max initcode size exceeded",
    ),
    "intrinsic": (transfer(0, 0, gas_limit=20_999), "intrinsic_gas_too_low", "intrinsic gas too low"),
    "floor of data": (
        transfer(0, 0, data=b"\1" * 1_000, gas_limit=21_000 + 16_000),
        "intrinsic_gas_too_low",
        "intrinsic gas too low",
    ),
    "block gas": (transfer(0, 0, gas_limit=30_000_001), "gas_limit_exceeds_block", "exceeds block gas limit"),
    "fee cap": (
        transfer(0, 0, max_fee_per_gas=100, max_priority_fee_per_gas=1),
        "fee_cap_too_low",
        "max fee per gas less than block base fee",
    ),
    "funds": (transfer(0, 0, value=10**30), "insufficient_funds", "insufficient funds for gas * price + value"),
    "stranger": (
        Wallet.of_index(0, "nobody").sign_1559(901, 0, to=TO),
        "insufficient_funds",
        "insufficient funds for gas * price + value",
    ),
    "gap": (transfer(0, POOL_NONCE_GAP_MAX + 1), "nonce_gap_too_large", "nonce too high"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_rule_has_its_code_and_gethwords_and_leaves_nothing(name: str, network: PooledNetwork, send: Send) -> None:
    raw, code, phrase = CASES[name]
    found = refused(send(raw))
    assert found.code == code
    assert found.message.startswith(phrase)
    statistics = network.pool.statistics()
    assert statistics["transactions"] == 0
    assert statistics["bytes"] == 0
    assert network.pool.accounts(ID) == {}
    assert codes(send(transfer(0, 0))) == ["pending"]


def test_legacy_transactions_need_a_chain_id(send: Send) -> None:
    from eth_account import Account

    fields = {"nonce": 0, "gasPrice": 2 * GWEI, "gas": 21_000, "to": "0x" + TO.hex(), "value": 1}
    signed = Account.from_key(b"\1" * 32).sign_transaction(fields)
    assert refused(send(bytes(signed.raw_transaction))).code == "chain_id_missing"


def test_high_s_is_refused(send: Send) -> None:
    import rlp

    fields = rlp.decode(transfer(0, 0)[1:])
    s = ORDER - int.from_bytes(fields[-1], "big")
    fields[-1], fields[-3] = s.to_bytes(32, "big"), b"" if fields[-3] else b"\1"
    assert refused(send(b"\x02" + rlp.encode(fields))).code == "signature_high_s"


def test_every_code_of_the_native_decoder_has_its_texts() -> None:
    literal = Refusal.__doc__ or ""
    assert literal
    for raw, code, _ in CASES.values():
        (decoded,) = decode_transactions([raw], 901)
        if isinstance(decoded, Refusal):
            assert _of_native(decoded).code == code


def test_a_known_transaction_is_refused_as_already_known(send: Send) -> None:
    assert codes(send(transfer(0, 0), transfer(0, 0))) == ["pending", "already_known"]
    assert refused(send(transfer(0, 0))).message.startswith("already known")


def test_a_replayed_transaction_is_refused_by_its_nonce(network: PooledNetwork, send: Send) -> None:
    send(transfer(0, 0))
    network.decide()
    found = refused(send(transfer(0, 0)))
    assert found.message.startswith("nonce too low: next nonce 1, tx nonce 0")
    assert found.fields == {"next_nonce": 1, "nonce": 0}


def test_a_batch_is_admitted_in_its_order_and_each_entry_for_itself(send: Send) -> None:
    results = send(transfer(0, 0), b"", transfer(0, 2), transfer(0, 1), transfer(1, 0, chain_id=902), transfer(1, 0))
    assert codes(results) == ["pending", "rlp_malformed", "pending", "pending", "chain_id_wrong", "pending"]


def test_balances_cover_everything_of_a_sender_with_fees_of_l1(network: PooledNetwork, send: Send) -> None:
    ((_, balance, _),) = network.rollup().accounts([USERS[0].address], -1)
    gas = 21_000 * 2 * GWEI
    whole = transfer(0, 0, value=balance - gas, max_fee_per_gas=2 * GWEI)
    found = refused(send(whole))
    assert found.code == "insufficient_funds", "the L1 data fee was not counted"
    (decoded,) = decode_transactions([whole], 901)
    (extra,) = network.rollup().additional_costs([decoded], -1)
    assert extra > 0
    assert found.fields["cost"] == balance + extra
    half = balance // 2
    assert codes(send(transfer(0, 0, value=half), transfer(0, 1, value=half))) == ["pending", "insufficient_funds"]
    assert codes(send(transfer(0, 1, value=half // 2), transfer(0, 3, value=half))) == ["pending", "insufficient_funds"]


def test_a_replacement_needs_ten_percent_more_of_both_fees(network: PooledNetwork, send: Send) -> None:
    def priced(fee_cap: int, tip: int) -> bytes:
        return transfer(0, 0, max_fee_per_gas=fee_cap, max_priority_fee_per_gas=tip)

    (first,) = send(priced(2 * GWEI, GWEI))
    for fee_cap, tip in ((2 * GWEI, GWEI * 11 // 10), (22 * GWEI // 10, GWEI), (22 * GWEI // 10 - 1, GWEI * 11 // 10)):
        assert refused(send(priced(fee_cap, tip))).code == "replacement_underpriced"
    (second,) = send(priced(22 * GWEI // 10, GWEI * 11 // 10))
    assert codes([second]) == ["pending"]
    status = network.pool.status(ID, first.hash)
    assert status is not None
    assert status.status == "dropped"
    assert status.code == "replaced"
    assert network.pool.count == 1
    assert network.pool.candidates()[ID] == [(network.pool.accounts(ID)[USERS[0].address].ready[0],)]
    network.decide()
    assert network.pool.status(ID, second.hash) == Decided(2, 1)


def test_what_waits_for_a_replacement_is_not_ready_before_it(network: PooledNetwork, send: Send) -> None:
    send(transfer(0, 0), transfer(0, 1), transfer(0, 2))
    network.time_ms += 40
    (second,) = send(transfer(0, 0, max_fee_per_gas=3 * GWEI, max_priority_fee_per_gas=GWEI))
    (queue,) = network.pool.candidates()[ID]
    assert queue[0].transaction.hash == second.hash
    assert [ready.ready_ms for ready in queue] == [network.time_ms] * 3


def test_a_dropped_transaction_may_come_back(network: PooledNetwork, send: Send) -> None:
    (first,) = send(transfer(0, 0))
    network.pool.drop([Dropped(ID, first.hash, "odd", "Odd.")], network.time_ms)
    assert network.pool.status(ID, first.hash).code == "odd"
    assert codes(send(transfer(0, 0))) == ["pending"]
    network.decide(network.foreign([transfer(0, 0, value=2)]))
    assert network.pool.status(ID, first.hash).code == "nonce_used"


def test_a_contract_cannot_send_but_a_delegated_account_can(network: PooledNetwork) -> None:
    # The rule itself: code other than a delegation. Nobody has a contract's key, so the pool's own check is asked.
    lane = network.pool.lanes[ID]
    predeploy = bytes.fromhex("4200000000000000000000000000000000000015")
    assert lane.rollup.accounts([predeploy], -1)[0][2]
    assert not lane.rollup.code(predeploy, -1).startswith(b"\xef\x01\x00")


def test_an_unknown_rollup_is_refused(network: PooledNetwork) -> None:
    with pytest.raises(TransactionRefused) as caught:
        network.pool.submit(RollupId(77), [b""], network.time_ms)
    assert caught.value.code == "rollup_unknown"


# ---------------------------------------------------------------- queues, eviction, fairness
def test_a_gap_waits_and_is_promoted_when_filled(network: PooledNetwork, send: Send) -> None:
    assert codes(send(transfer(0, 1), transfer(0, 2))) == ["queued", "queued"]
    assert network.pool.candidates() == {}
    network.time_ms += 5
    assert codes(send(transfer(0, 0))) == ["pending"]
    ((queue),) = network.pool.candidates()[ID]
    assert [ready.transaction.nonce for ready in queue] == [0, 1, 2]
    assert {ready.ready_ms for ready in queue} == {network.time_ms}


def test_a_full_pool_gives_up_the_cheapest_tail_and_refuses_what_is_cheaper() -> None:
    network = PooledNetwork(USERS, limits=PoolLimits(transactions_max=4))
    pool = network.pool

    def send(user: int, nonce: int, tip: int) -> str:
        raw = transfer(user, nonce, max_priority_fee_per_gas=tip, max_fee_per_gas=10 * GWEI)
        return codes(pool.submit(ID, [raw], network.time_ms))[0]

    assert [send(0, 0, 1), send(0, 1, 1_000), send(1, 0, 50), send(2, 0, 70)] == ["pending"] * 4
    assert send(3, 0, 50) == "underpriced", "an equal tip must not push out an earlier one"
    assert send(1, 1, 60) == "underpriced", "a sender must not push out its own earlier nonce"
    assert send(3, 0, 60) == "pending"
    account = pool.accounts(ID).get(USERS[1].address)
    assert account is None, "the lowest tail (tip 50) had to go"
    assert len(pool.accounts(ID)[USERS[0].address].pending) == 2, "a middle transaction must never be evicted"
    assert pool.count == 4


def test_a_flood_on_one_rollup_does_not_take_the_others_share() -> None:
    policies = (OrderingPolicy.PRIORITY_FEE, OrderingPolicy.PRIORITY_FEE)
    network = PooledNetwork(USERS, policies=policies, limits=PoolLimits(transactions_max=6))
    flood = [transfer(user, 0, max_priority_fee_per_gas=GWEI, max_fee_per_gas=10 * GWEI) for user in range(6)]
    assert codes(network.pool.submit(ID, flood, network.time_ms)) == ["pending"] * 6
    modest = [transfer(user, 0, chain_id=902, max_priority_fee_per_gas=1) for user in range(4)]
    results = codes(network.pool.submit(RollupId(902), modest, network.time_ms))
    assert results == ["pending", "pending", "pending", "underpriced"]
    assert len(network.pool.lanes[ID]) == 3


def test_a_sender_has_a_limit_but_may_fill_its_gap() -> None:
    network = PooledNetwork(USERS, limits=PoolLimits(per_sender_max=3))

    def send(nonce: int) -> str:
        return codes(network.pool.submit(ID, [transfer(0, nonce)], network.time_ms))[0]

    assert [send(1), send(2), send(3)] == ["queued"] * 3
    assert send(4) == "account_limit_exceeded"
    assert send(0) == "pending"
    account = network.pool.accounts(ID)[USERS[0].address]
    assert [entry.nonce for entry in account.pending] == [0, 1, 2]
    assert not account.queued


def test_a_contested_snapshot_holds_the_best_and_something_of_many_senders() -> None:
    network = PooledNetwork(USERS, gas_limit=2_500_000)
    raws = [
        transfer(user, nonce, max_priority_fee_per_gas=10**6 * (user + 1)) for nonce in range(100) for user in range(6)
    ]
    assert set(codes(network.pool.submit(ID, raws, network.time_ms))) == {"pending"}
    queues = network.pool.candidates(gas_max_factor=2)[ID]
    assert sum(map(len, queues)) == 2 * 2_500_000 // 21_000
    assert queues[0][0].transaction.sender == USERS[5].address
    full = network.pool.candidates(gas_max_factor=10)[ID]
    assert sum(map(len, full)) == 600


def test_under_the_arrival_policy_the_snapshot_prefers_the_earliest() -> None:
    network = PooledNetwork(USERS, policies=(OrderingPolicy.ARRIVAL,), gas_limit=2_500_000)
    for user in range(3):
        network.time_ms += 1_000
        raws = [transfer(user, nonce, max_priority_fee_per_gas=10**6 * (user + 1)) for nonce in range(100)]
        assert set(codes(network.pool.submit(ID, raws, network.time_ms))) == {"pending"}
    queues = network.pool.candidates(gas_max_factor=1)[ID]
    assert [queue[0].transaction.sender for queue in queues] == [user.address for user in USERS[:2]]


# ---------------------------------------------------------------- ends
def test_statuses_follow_a_transaction_from_pool_to_block(network: PooledNetwork, send: Send) -> None:
    first, second = send(transfer(0, 0), transfer(0, 2))
    assert [network.pool.status(ID, item.hash).status for item in (first, second)] == ["pending", "queued"]
    network.decide()
    assert network.pool.status(ID, first.hash) == Decided(2, 1)
    network.decide(after_ms=1_000)
    assert network.pool.status(ID, first.hash) == Sealed(2, 1)
    assert network.pool.status(ID, b"\0" * 32) is None


def test_another_transaction_with_the_nonce_drops_ours(network: PooledNetwork, send: Send) -> None:
    ours, later = send(transfer(0, 0), transfer(0, 1))
    network.decide(network.foreign([transfer(0, 0, value=2)]))
    status = network.pool.status(ID, ours.hash)
    assert (status.status, status.code) == ("dropped", "nonce_used")
    assert network.pool.status(ID, later.hash).status == "pending"
    assert network.pool.candidates()[ID][0][0].transaction.nonce == 1


def test_a_nonce_that_an_authorization_used_up_is_followed_at_once(network: PooledNetwork, send: Send) -> None:
    """EIP-7702: transaction 0 authorizes its own sender with nonce 1, so the sender's next nonce is 2."""
    from eth_account import Account

    key = Wallet.of_index(0, "pool")
    secret = hashlib.sha256(b"plait/sim/pool/0").digest()
    account = Account.from_key(secret)
    assert bytes.fromhex(account.address[2:]) == key.address
    authorization = account.sign_authorization({"chainId": 901, "address": "0x" + TO.hex(), "nonce": 1})
    signed = account.sign_transaction(
        {"type": 4, "chainId": 901, "nonce": 0, "gas": 100_000, "maxFeePerGas": 2 * GWEI, "maxPriorityFeePerGas": 10**6}
        | {"to": "0x" + TO.hex(), "value": 0, "authorizationList": [authorization]}
    )
    first, used, next_one = send(bytes(signed.raw_transaction), transfer(0, 1), transfer(0, 2))
    assert codes([first, used, next_one]) == ["pending"] * 3
    network.decide({ID: [queue[:1] for queue in network.pool.candidates()[ID]]})
    assert network.rollup().accounts([key.address], -1)[0][0] == 2
    assert network.pool.status(ID, used.hash).code == "nonce_used"
    assert [ready.transaction.nonce for ready in network.pool.candidates()[ID][0]] == [2]
    network.decide()
    assert network.pool.status(ID, next_one.hash).status == "decided"


def test_old_transactions_expire_and_later_ones_wait(network: PooledNetwork, send: Send) -> None:
    (old,) = send(transfer(0, 0, max_fee_per_gas=GWEI * 2 // 10, max_priority_fee_per_gas=1))
    (queued,) = send(transfer(1, 5))
    network.time_ms += 4 * 3_600 * 1_000
    (young,) = send(transfer(0, 1))
    network.pool.lanes[ID].sweep(network.time_ms)
    assert network.pool.status(ID, queued.hash).code == "expired"
    assert network.pool.status(ID, old.hash).status == "pending"
    network.pool.lanes[ID].sweep(network.time_ms + 21 * 3_600 * 1_000)
    assert network.pool.status(ID, old.hash).code == "expired"
    assert network.pool.status(ID, young.hash).status == "queued"


async def test_waiters_hear_of_decided_sealed_and_dropped(network: PooledNetwork, send: Send) -> None:
    pool: Pool = network.pool
    first, second = send(transfer(0, 0), transfer(1, 0, max_priority_fee_per_gas=10**6))
    waits = [asyncio.ensure_future(pool.wait(ID, first.hash, level)) for level in ("decided", "sealed")]
    replaced = asyncio.ensure_future(pool.wait(ID, second.hash, "sealed"))
    await asyncio.sleep(0)
    send(transfer(1, 0, max_fee_per_gas=4 * GWEI, max_priority_fee_per_gas=10**7))
    assert (await replaced).code == "replaced"
    network.decide()
    assert await waits[0] == Decided(2, 1)
    late = asyncio.ensure_future(pool.wait(ID, first.hash, "sealed"))
    gone = asyncio.ensure_future(pool.wait(ID, first.hash, "sealed"))
    await asyncio.sleep(0)
    gone.cancel()
    network.decide(after_ms=1_000)
    assert await waits[1] == await late == Sealed(2, 1)
    await asyncio.sleep(0)
    assert len(pool.lanes[ID].waiters) == 0
    assert await pool.wait(ID, first.hash, "sealed") == Sealed(2, 1)


def test_what_execution_finds_impossible_is_dropped_with_its_reason(network: PooledNetwork, send: Send) -> None:
    ((_, balance, _),) = network.rollup().accounts([USERS[0].address], -1)
    (poor,) = send(transfer(0, 1, value=balance // 2))
    network.decide(network.foreign([transfer(0, 0, value=balance * 2 // 3)]))
    status = network.pool.status(ID, poor.hash)
    assert (status.status, status.code) == ("dropped", "insufficient_funds")
    assert network.pool.count == 0


def test_a_throttled_rollup_offers_no_more_bytes_than_it_is_allowed(network: PooledNetwork, send: Send) -> None:
    """A batcher that is behind holds a rollup's new data back; deposits are no candidates and unaffected."""
    size = send(*(transfer(0, nonce) for nonce in range(10)))[0].size
    offered = network.pool.candidates(throttled={ID: 3 * size + size // 2})
    assert [len(queue) for queue in offered[ID]] == [3]
    assert network.pool.candidates(throttled={ID: size // 2}).get(ID, []) == []
    assert [len(queue) for queue in network.pool.candidates(throttled={RollupId(902): 1})[ID]] == [10]
