"""Ordering policies: the order they build is the promised merge, they accept it, and refuse every other permutation."""

import heapq
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import ProposalRefused
from plait.native import Transaction, decode_transactions
from plait.ordering.policy import Ordered, check_order, order
from plait.ordering.queues import Ready, SenderQueue
from plait.types import Milliseconds, OrderingPolicy, RollupId, Wei
from sim.wallet import Wallet

ROLLUP = RollupId(901)
BASE_FEE = Wei(100)
TIME_MS = Milliseconds(1_000)
WALLETS = [Wallet.of_index(index, "ordering") for index in range(4)]


@cache
def transaction(sender: int, nonce: int, tip: int, cap: int) -> Transaction:
    raw = WALLETS[sender].sign_1559(ROLLUP, nonce, to=bytes(20), max_priority_fee_per_gas=tip, max_fee_per_gas=cap)
    (decoded,) = decode_transactions([raw], ROLLUP)
    assert isinstance(decoded, Transaction)
    return decoded


@st.composite
def queues(draw: Callable[..., int]) -> list[SenderQueue]:
    """Up to four senders with up to five transactions each; tips, caps and times collide often."""
    built: list[SenderQueue] = []
    for sender in range(len(WALLETS)):
        count = draw(st.integers(0, 5))
        ready_ms = draw(st.integers(990, 1_004))
        queue = []
        for nonce in range(count):
            tip = draw(st.integers(0, 3))
            cap = draw(st.sampled_from([tip, 99, 100, 101, 110, 200])) if tip <= 99 else tip
            ready_ms += draw(st.integers(0, 2))
            queue.append(Ready(transaction(sender, nonce, tip, max(cap, tip)), Milliseconds(ready_ms)))
        if queue:
            built.append(tuple(queue))
    return built


def check(policy: OrderingPolicy, ordered: Ordered) -> None:
    check_order(policy, ROLLUP, ordered.transactions, ordered.stamps_ms, base_fee=BASE_FEE, time_ms=TIME_MS)


def merge_by_heap(policy: OrderingPolicy, given_queues: list[SenderQueue]) -> list[bytes]:
    """The promise itself: always the smallest key among the senders' next transactions."""
    rows: list[list[tuple[int, bytes]]] = []
    for queue in given_queues:
        row = []
        stamp = 0
        for tx, ready_ms in queue:
            tip = tx.effective_priority_fee(BASE_FEE)
            if tip is None:
                break
            stamp = max(stamp, min(ready_ms, TIME_MS))
            row.append((-tip if policy is OrderingPolicy.PRIORITY_FEE else stamp, tx.hash))
        rows.append(row)
    heap = [(row[0], place, 0) for place, row in enumerate(rows) if row]
    heapq.heapify(heap)
    merged = []
    while heap:
        key, place, at = heapq.heappop(heap)
        merged.append(key[1])
        if at + 1 < len(rows[place]):
            heapq.heappush(heap, (rows[place][at + 1], place, at + 1))
    return merged


policies = st.sampled_from(list(OrderingPolicy))


@given(policies, queues())
def test_the_built_order_is_the_merge_of_smallest_keys(policy: OrderingPolicy, given_queues: list[SenderQueue]) -> None:
    ordered = order(policy, given_queues, base_fee=BASE_FEE, time_ms=TIME_MS)
    assert [tx.hash for tx in ordered.transactions] == merge_by_heap(policy, given_queues)


@given(policies, queues())
def test_what_is_built_is_accepted(policy: OrderingPolicy, given_queues: list[SenderQueue]) -> None:
    check(policy, order(policy, given_queues, base_fee=BASE_FEE, time_ms=TIME_MS))


@given(policies, queues(), st.data())
def test_a_prefix_of_every_sender_stays_in_order(
    policy: OrderingPolicy, given_queues: list[SenderQueue], data: st.DataObject
) -> None:
    """Leaving out a transaction and its sender's later ones, as execution does, leaves an order that is accepted."""
    ordered = order(policy, given_queues, base_fee=BASE_FEE, time_ms=TIME_MS)
    cuts = {wallet.address: data.draw(st.integers(0, 5)) for wallet in WALLETS}
    kept = [i for i, tx in enumerate(ordered.transactions) if tx.nonce < cuts[tx.sender]]  # type: ignore[index]
    check(policy, Ordered([ordered.transactions[i] for i in kept], [ordered.stamps_ms[i] for i in kept]))


@settings(max_examples=300)
@given(policies, queues(), st.data())
def test_any_other_permutation_is_refused(
    policy: OrderingPolicy, given_queues: list[SenderQueue], data: st.DataObject
) -> None:
    ordered = order(policy, given_queues, base_fee=BASE_FEE, time_ms=TIME_MS)
    count = len(ordered.transactions)
    places = data.draw(st.permutations(range(count)))
    if places == list(range(count)):
        return
    mixed = Ordered([ordered.transactions[i] for i in places], [ordered.stamps_ms[i] for i in places])
    with pytest.raises(ProposalRefused) as refusal:
        check(policy, mixed)
    assert refusal.value.code in {"order_out_of_policy", "nonce_order_wrong", "stamps_decrease"}


@given(queues())
def test_stamps_never_decrease_and_never_lie_in_the_future(given_queues: list[SenderQueue]) -> None:
    stamps = order(OrderingPolicy.ARRIVAL, given_queues, base_fee=BASE_FEE, time_ms=TIME_MS).stamps_ms
    assert stamps == sorted(stamps)
    assert all(stamp <= TIME_MS for stamp in stamps)


@given(policies, queues(), st.randoms(use_true_random=False))
def test_the_order_of_the_queues_does_not_matter(
    policy: OrderingPolicy, given_queues: list[SenderQueue], random: object
) -> None:
    shuffled = list(given_queues)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first = order(policy, given_queues, base_fee=BASE_FEE, time_ms=TIME_MS)
    second = order(policy, shuffled, base_fee=BASE_FEE, time_ms=TIME_MS)
    assert [tx.hash for tx in first.transactions] == [tx.hash for tx in second.transactions]
    assert first.stamps_ms == second.stamps_ms
