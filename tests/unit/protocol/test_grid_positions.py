"""The grid: slots, blocks, catching up, and what a sub-block may carry."""

import pytest

from plait.errors import ConfigurationError, ProposalRefused
from plait.limits import CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX, ROLLUPS_MAX, SUB_BLOCKS_PER_SLOT_MAX
from plait.protocol.grid import Position, block_timestamp_s, next_position, slot_at, slot_start_ms
from plait.types import BlockNumber, Milliseconds, NetworkId, NetworkParameters, Seconds, Slot, SubIndex
from tests.unit.protocol.cadences import rollup

NETWORK = NetworkParameters(
    network_id=NetworkId(1), genesis_time_s=Seconds(1_000), slot_ms=Milliseconds(500), sub_blocks_per_slot=4
)


def position(time_ms: int, slot: int = 0, sub_index: int = 0, previous_ms: int = 1_000_000, block: int = 0) -> Position:
    return next_position(
        NETWORK,
        time_ms=Milliseconds(time_ms),
        previous_slot=Slot(slot),
        previous_sub_index=SubIndex(sub_index),
        previous_time_ms=Milliseconds(previous_ms),
        blocks=[(rollup(2), BlockNumber(block))],
    )


def test_slots_are_half_open_intervals() -> None:
    assert [slot_at(NETWORK, Milliseconds(t)) for t in (999_999, 1_000_000, 1_000_499, 1_000_500)] == [-1, 0, 0, 1]
    assert slot_start_ms(NETWORK, Slot(3)) == 1_001_500


def test_a_block_of_two_slots_of_500_ms_has_whole_second_timestamps() -> None:
    assert [rollup(2).block_at(Slot(s)) for s in range(5)] == [0, 0, 1, 1, 2]
    assert [block_timestamp_s(NETWORK, rollup(2), BlockNumber(n)) for n in range(3)] == [1_000, 1_001, 1_002]


def test_a_rollup_that_joined_later_counts_its_blocks_from_there() -> None:
    late = rollup(2, start_slot=10)
    assert [late.block_at(Slot(s)) for s in range(10, 15)] == [0, 0, 1, 1, 2]
    assert [block_timestamp_s(NETWORK, late, BlockNumber(n)) for n in range(3)] == [1_005, 1_006, 1_007]
    assert (late.first_slot(BlockNumber(1)), late.last_slot(BlockNumber(1))) == (12, 13)


def test_a_rollup_joins_only_where_its_blocks_open() -> None:
    with pytest.raises(ConfigurationError):
        rollup(2, start_slot=11).check(NETWORK)


def test_genesis_is_the_first_sub_block_of_slot_0() -> None:
    assert position(1_000_100) == Position(slot=Slot(0), sub_index=SubIndex(1), carries_items=True)


def test_a_new_slot_starts_at_sub_index_0() -> None:
    assert position(1_000_500) == Position(slot=Slot(1), sub_index=SubIndex(0), carries_items=True)


def test_time_may_stand_still_and_not_run_backwards() -> None:
    assert position(1_000_000).sub_index == 1
    with pytest.raises(ProposalRefused) as refusal:
        position(999_999)
    assert refusal.value.code == "time_before_previous"


def test_beyond_the_last_sub_index_of_a_slot_nothing_is_carried() -> None:
    assert position(1_000_100, sub_index=SUB_BLOCKS_PER_SLOT_MAX - 2).carries_items
    assert not position(1_000_100, sub_index=SUB_BLOCKS_PER_SLOT_MAX - 1).carries_items


def test_after_a_long_pause_the_slot_is_the_last_one_within_reach_and_carries_nothing() -> None:
    reach = (CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX + 1) * 2 - 1
    far = position(1_000_000 + 10_000 * 500)
    assert far == Position(slot=Slot(reach), sub_index=SubIndex(0), carries_items=False)
    assert position(1_000_000 + reach * 500).carries_items


def test_many_rollups_share_what_one_sub_block_fills() -> None:
    """256 rollups of one slot: 6,000 // 256 = 23 blocks each."""
    found = next_position(
        NETWORK,
        time_ms=Milliseconds(9_000_000),
        previous_slot=Slot(0),
        previous_sub_index=SubIndex(0),
        previous_time_ms=Milliseconds(1_000_000),
        blocks=[(rollup(1), BlockNumber(0))] * ROLLUPS_MAX,
    )
    assert (found.slot, found.carries_items) == (23, False)


def test_without_rollups_there_is_no_limit() -> None:
    free = next_position(
        NETWORK,
        time_ms=Milliseconds(9_000_000),
        previous_slot=Slot(0),
        previous_sub_index=SubIndex(0),
        previous_time_ms=Milliseconds(1_000_000),
        blocks=[],
    )
    assert free.slot == 16_000
