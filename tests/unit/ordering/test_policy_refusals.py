"""Each broken rule of an ordering policy is refused by its own code, with the index of the first offender."""

import pytest

from plait.errors import ProposalRefused
from plait.native import Transaction, decode_transactions
from plait.ordering.policy import check_order, order
from plait.ordering.queues import Ready
from plait.types import Milliseconds, OrderingPolicy, RollupId, Wei
from sim.wallet import Wallet

ROLLUP = RollupId(901)
ALICE, BOB = Wallet.of_index(0, "policy"), Wallet.of_index(1, "policy")
TIME_MS = Milliseconds(1_000)


def tx(wallet: Wallet, nonce: int, tip: int, cap: int = 1_000) -> Transaction:
    raw = wallet.sign_1559(ROLLUP, nonce, to=bytes(20), max_priority_fee_per_gas=tip, max_fee_per_gas=cap)
    (decoded,) = decode_transactions([raw], ROLLUP)
    assert isinstance(decoded, Transaction)
    return decoded


def refusal(policy: OrderingPolicy, transactions: list[Transaction], stamps: list[int]) -> tuple[str, object]:
    with pytest.raises(ProposalRefused) as caught:
        check_order(policy, ROLLUP, transactions, [Milliseconds(s) for s in stamps], base_fee=Wei(100), time_ms=TIME_MS)
    return caught.value.code, caught.value.fields["index"]


def test_a_lower_tip_before_a_higher_one_is_refused() -> None:
    found = refusal(OrderingPolicy.PRIORITY_FEE, [tx(ALICE, 0, 1), tx(BOB, 0, 2)], [0, 0])
    assert found == ("order_out_of_policy", 1)


def test_equal_tips_go_by_hash() -> None:
    pair = sorted([tx(ALICE, 0, 5), tx(BOB, 0, 5)], key=lambda entry: entry.hash)
    check_order(OrderingPolicy.PRIORITY_FEE, ROLLUP, pair, [Milliseconds(0)] * 2, base_fee=Wei(100), time_ms=TIME_MS)
    assert refusal(OrderingPolicy.PRIORITY_FEE, pair[::-1], [0, 0]) == ("order_out_of_policy", 1)


def test_a_tip_behind_an_earlier_nonce_waits_for_it() -> None:
    """Alice's tip of 9 cannot overtake her own tip of 1, so Bob's 5 goes first and both of hers follow."""
    queue = (Ready(tx(ALICE, 0, 1), TIME_MS), Ready(tx(ALICE, 1, 9), TIME_MS))
    other = (Ready(tx(BOB, 0, 5), TIME_MS),)
    ordered = order(OrderingPolicy.PRIORITY_FEE, [queue, other], base_fee=Wei(100), time_ms=TIME_MS)
    assert [t.max_priority_fee_per_gas for t in ordered.transactions] == [5, 1, 9]


def test_the_effective_tip_counts_not_the_offered_one() -> None:
    """A tip of 50 under a fee cap of 103 is worth 3 at a base fee of 100, less than an uncapped tip of 4."""
    capped, plain = tx(ALICE, 0, 50, cap=103), tx(BOB, 0, 4)
    queues = [(Ready(capped, TIME_MS),), (Ready(plain, TIME_MS),)]
    ordered = order(OrderingPolicy.PRIORITY_FEE, queues, base_fee=Wei(100), time_ms=TIME_MS)
    assert [t.hash for t in ordered.transactions] == [plain.hash, capped.hash]


def test_a_queue_ends_at_a_fee_cap_below_the_base_fee() -> None:
    for policy in OrderingPolicy:
        queue = (Ready(tx(ALICE, 0, 1, cap=99), TIME_MS), Ready(tx(ALICE, 1, 9), TIME_MS))
        assert order(policy, [queue], base_fee=Wei(100), time_ms=TIME_MS).transactions == []


def test_a_fee_cap_below_the_base_fee_is_refused() -> None:
    found = refusal(OrderingPolicy.PRIORITY_FEE, [tx(BOB, 0, 3), tx(ALICE, 0, 1, cap=99)], [0, 0])
    assert found == ("fee_cap_below_base_fee", 1)


def test_a_stamp_where_none_is_used_is_refused() -> None:
    assert refusal(OrderingPolicy.PRIORITY_FEE, [tx(ALICE, 0, 1)], [5]) == ("stamp_unused", 0)


def test_a_stamp_of_the_future_is_refused() -> None:
    found = refusal(OrderingPolicy.ARRIVAL, [tx(ALICE, 0, 1), tx(BOB, 0, 1)], [1_000, 1_001])
    assert found == ("stamp_in_future", 1)


def test_stamps_that_decrease_are_refused() -> None:
    found = refusal(OrderingPolicy.ARRIVAL, [tx(ALICE, 0, 1), tx(BOB, 0, 1)], [500, 499])
    assert found == ("stamps_decrease", 1)


def test_a_gap_or_a_step_back_in_a_senders_nonces_is_refused() -> None:
    for policy, nonces in ((OrderingPolicy.ARRIVAL, (0, 2)), (OrderingPolicy.PRIORITY_FEE, (1, 0))):
        assert refusal(policy, [tx(ALICE, n, 1) for n in nonces], [0, 0]) == ("nonce_order_wrong", 1)
