"""What is posted when: the planning of postings, the throttle, and the sharing of costs."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.derivation.rollup_config import BlockId
from plait.limits import BATCHER_WAITING_MAX
from plait.rollups.batcher.costs import shares
from plait.rollups.batcher.journal import Range
from plait.rollups.batcher.l1_access import L1Receipt
from plait.rollups.batcher.plan import Backlog, Plan, PlanSettings, Waiting, plan
from plait.rollups.batcher.throttle import ThrottleSettings, da_budget
from plait.types import BlockNumber, Gas, Hash32, RollupId, Seconds, Wei

SETTINGS = PlanSettings(age_max_s=10, target_bytes=1_000, raw_bytes_max=5_000, window_margin_blocks=10)
ONE, TWO = RollupId(901), RollupId(902)


def backlog(
    first: int, count: int, *, step: int = 1, size: int = 100, origin: int = 50, window: int = 3_600
) -> Backlog:
    blocks = [
        Waiting(BlockNumber(first + at), Seconds((first + at) * step), BlockNumber(origin), size) for at in range(count)
    ]
    return Backlog(blocks=blocks, next_timestamp=Seconds((first + count) * step), seq_window_blocks=window)


def planned(
    backlogs: dict[RollupId, Backlog], *, l1: int = 60, now: int = 0, waiting: int = 0, flush: bool = False
) -> Plan | None:
    return plan(
        backlogs,
        l1_number=BlockNumber(l1),
        now_s=Seconds(now),
        waiting=waiting,
        ratio=0.5,
        settings=SETTINGS,
        flush=flush,
    )


def test_nothing_is_posted_while_little_waits_for_a_short_time() -> None:
    assert planned({ONE: backlog(1, 5)}, now=10) is None


def test_the_oldest_blocks_age_posts() -> None:
    found = planned({ONE: backlog(1, 5), TWO: backlog(1, 5)}, now=11)
    assert found is not None
    assert (found.reason, found.ranges) == ("age", {ONE: (1, 5), TWO: (1, 5)})


def test_enough_compressed_bytes_post() -> None:
    found = planned({ONE: backlog(1, 20)}, now=1)
    assert found is not None
    assert found.reason == "size"


def test_rollups_of_different_block_times_are_posted_up_to_one_time() -> None:
    found = planned({ONE: backlog(1, 9), TWO: backlog(1, 4, step=2)}, flush=True)
    assert found is not None
    assert found.until_s == 9, "at 10 both have blocks that are still open"
    assert found.ranges == {ONE: (1, 9), TWO: (1, 4)}
    found = planned({ONE: backlog(1, 30), TWO: backlog(1, 4, step=2)}, flush=True)
    assert found is not None
    assert found.ranges == {ONE: (1, 9), TWO: (1, 4)}, "the faster rollup waits for the slower one's next block"


def test_the_sequencing_window_posts_even_when_l1_takes_nothing() -> None:
    blocks = {ONE: backlog(1, 2, origin=50, window=100)}
    assert planned(blocks, l1=139, waiting=BATCHER_WAITING_MAX) is None
    found = planned(blocks, l1=140, waiting=BATCHER_WAITING_MAX)
    assert found is not None
    assert found.reason == "window"


def test_a_full_l1_pool_holds_back_what_can_wait() -> None:
    assert planned({ONE: backlog(1, 20)}, now=100, waiting=BATCHER_WAITING_MAX) is None


def test_a_window_shorter_than_the_margin_leaves_half_of_itself() -> None:
    assert planned({ONE: backlog(1, 2, origin=50, window=12)}, l1=55) is None
    assert planned({ONE: backlog(1, 2, origin=50, window=12)}, l1=56) is not None


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 3), st.integers(1, 3_000)), min_size=1, max_size=4),
)
def test_repeated_plans_take_every_block_once_in_order_and_within_the_bound(shape: list[tuple[int, int, int]]) -> None:
    left = {RollupId(900 + at): backlog(1, count, step=step, size=size) for at, (count, step, size) in enumerate(shape)}
    until = min(one.next_timestamp for one in left.values()) - 1
    expected = {one: [block.number for block in made.blocks if block.timestamp <= until] for one, made in left.items()}
    taken: dict[RollupId, list[int]] = {one: [] for one in left}
    while (found := planned(left, flush=True)) is not None:
        size = 0
        for one, (first, last) in found.ranges.items():
            taken[one] += range(first, last + 1)
            size += sum(block.data_bytes for block in left[one].blocks if first <= block.number <= last)
            rest = [block for block in left[one].blocks if block.number > last]
            left[one] = Backlog(blocks=rest, next_timestamp=left[one].next_timestamp, seq_window_blocks=3_600)
        alone = all(first == last for first, last in found.ranges.values())
        assert size <= SETTINGS.raw_bytes_max or alone, "more than the bound is one moment's blocks alone"
    assert taken == expected


@pytest.mark.parametrize("backlog_bytes", [0, 3_199_999])
def test_a_small_backlog_throttles_nothing(backlog_bytes: int) -> None:
    assert da_budget(backlog_bytes) is None


def test_the_budget_falls_quadratically_to_its_floor() -> None:
    at = [da_budget(one) for one in (3_200_000, 8_000_000, 12_800_000, 10**9)]
    assert [one.block_bytes for one in at if one is not None] == [130_000, 98_000, 2_000, 2_000]
    assert [one.transaction_bytes for one in at if one is not None] == [20_000, 15_038, 150, 150]


@given(st.lists(st.integers(0, 20_000_000), min_size=2, max_size=20))
def test_more_backlog_never_means_more_room(backlogs: list[int]) -> None:
    terms = ThrottleSettings(backlog_low_bytes=0)
    found = [da_budget(one, terms) for one in sorted(backlogs)]
    assert all(a is not None and b is not None and a.block_bytes >= b.block_bytes for a, b in pairwise(found))


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**12)), min_size=1, max_size=4),
)
def test_shares_add_up_to_what_was_paid(weights: list[int], paid: list[tuple[int, int]]) -> None:
    ranges = [
        Range(
            rollup_id=RollupId(at), first=BlockNumber(1), last=BlockNumber(2), last_hash=Hash32(bytes(32)), bytes=weight
        )
        for at, weight in enumerate(weights)
    ]
    receipts = [
        L1Receipt(
            hash=Hash32(bytes(32)),
            block=BlockId(BlockNumber(1), Hash32(bytes(32))),
            gas_used=Gas(gas),
            gas_price=Wei(price),
        )
        for gas, price in paid
    ]
    found = shares(ranges, receipts)
    if any(weights):
        assert sum(one.wei for one in found) == sum(gas * price for gas, price in paid)
        assert sum(one.gas for one in found) == sum(gas for gas, _ in paid)
    for one in found:
        for other in found:
            assert one.bytes <= other.bytes or one.wei >= other.wei, "more bytes never pay less"
