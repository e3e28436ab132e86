"""A node proposes what it can make and check in time: less after it was slow, more again while it is quick."""

from hypothesis import given
from hypothesis import strategies as st

from plait.engines.cometbft.pace import BYTES_FIRST, BYTES_MIN, Pace
from plait.limits import PROPOSAL_BYTES_MAX


def test_a_slow_proposal_shrinks_the_next_in_proportion_and_quick_large_ones_bring_it_back() -> None:
    pace = Pace(0.3)
    assert pace.bytes_max == BYTES_FIRST
    pace.took(800_000, 0.6)
    assert pace.bytes_max == 400_000
    pace.took(390_000, 0.29)
    assert pace.bytes_max == 500_000
    for _ in range(30):
        pace.took(pace.bytes_max, 0.01)
    assert pace.bytes_max == PROPOSAL_BYTES_MAX


def test_small_quick_proposals_promise_nothing_about_large_ones() -> None:
    pace = Pace(0.3)
    for _ in range(1_000):
        pace.took(400, 0.001)
    assert pace.bytes_max == BYTES_FIRST


def test_a_small_proposal_that_took_long_costs_half_whoever_made_it_and_is_not_the_size_of_all_to_come() -> None:
    pace = Pace(0.3)
    pace.took(300, 5.0)
    assert pace.bytes_max == BYTES_FIRST // 2
    for _ in range(30):
        pace.took(300, 5.0)
    assert pace.bytes_max == BYTES_MIN


def test_what_a_slow_disk_makes_of_a_large_proposal_is_learned_and_small_ones_keep_their_room() -> None:
    pace = Pace(0.3)
    pace.waited(900_000, 0.4)
    assert pace.bytes_max == 675_000
    pace.waited(600_000, 60.0)
    assert pace.bytes_max == 300_000
    for _ in range(100):
        pace.waited(400, 60.0)
        pace.waited(pace.bytes_max, 0.01)
    assert pace.bytes_max == BYTES_FIRST // 4


@given(st.lists(st.tuples(st.integers(0, PROPOSAL_BYTES_MAX), st.floats(0, 100)), max_size=60))
def test_the_budget_stays_within_its_bounds(taken: list[tuple[int, float]]) -> None:
    pace = Pace(0.3)
    for size, seconds in taken:
        pace.took(size, seconds)
        assert BYTES_MIN <= pace.bytes_max <= PROPOSAL_BYTES_MAX


@given(st.integers(50, 5_000), st.integers(2 * BYTES_MIN, PROPOSAL_BYTES_MAX))
def test_at_a_steady_speed_proposals_settle_near_the_target(nanoseconds_per_byte: int, demand: int) -> None:
    pace = Pace(0.3)
    taken = []
    for _ in range(60):
        size = min(demand, pace.bytes_max)
        taken.append(size * nanoseconds_per_byte / 1e9)
        pace.took(size, taken[-1])
    assert max(taken[10:]) <= 0.3 * 1.26 or min(demand, BYTES_MIN) * nanoseconds_per_byte / 1e9 > 0.3
