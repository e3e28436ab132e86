"""Over any sequence of times, slots and sub-indexes only grow, catching up is bounded, and it ends."""

from hypothesis import given
from hypothesis import strategies as st

from plait.limits import CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX
from plait.protocol.grid import block_timestamp_s, next_position, slot_at
from plait.types import (
    BlockNumber,
    Milliseconds,
    NetworkId,
    NetworkParameters,
    RollupParameters,
    Seconds,
    Slot,
    SubIndex,
)
from tests.unit.protocol.cadences import rollup

networks = st.builds(
    NetworkParameters,
    network_id=st.just(NetworkId(1)),
    genesis_time_s=st.integers(1, 2**32).map(Seconds),
    slot_ms=st.sampled_from([1_000, 2_000, 12_000]).map(Milliseconds),
    sub_blocks_per_slot=st.integers(1, 50),
)
pauses = st.lists(st.one_of(st.integers(0, 3_000), st.integers(0, 10**8)), min_size=1, max_size=30)
rollups = st.lists(st.builds(rollup, st.integers(1, 60)), min_size=1, max_size=5)


@given(networks, pauses, rollups)
def test_positions_only_grow_and_each_step_fills_a_bounded_number_of_blocks(
    network: NetworkParameters, steps: list[int], members: list[RollupParameters]
) -> None:
    time_ms = Milliseconds(network.genesis_time_s * 1_000)
    slot, sub_index = Slot(0), SubIndex(0)
    for pause in steps:
        before_ms, time_ms = time_ms, Milliseconds(time_ms + pause)
        blocks = [(member, member.block_at(slot)) for member in members]
        found = next_position(
            network,
            time_ms=time_ms,
            previous_slot=slot,
            previous_sub_index=sub_index,
            previous_time_ms=before_ms,
            blocks=blocks,
        )
        assert (found.slot, found.sub_index) > (slot, sub_index)
        assert found.slot <= slot_at(network, time_ms)
        assert not found.carries_items or found.slot == slot_at(network, time_ms)
        filled = [member.block_at(found.slot) - number for member, number in blocks]
        assert max(filled) <= CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX
        if found.slot < slot_at(network, time_ms):
            assert max(filled) == CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX, "a debt is paid as fast as allowed"
        slot, sub_index = found.slot, found.sub_index


@given(networks, st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 10**4))
def test_a_block_is_open_from_its_timestamp_to_the_next_ones(
    network: NetworkParameters, after: int, k: int, starts: int
) -> None:
    member = rollup(k, start_slot=starts * k)
    slot = starts * k + after
    number = member.block_at(Slot(slot))
    start_ms = network.genesis_time_s * 1_000 + slot * network.slot_ms
    assert block_timestamp_s(network, member, number) * 1_000 <= start_ms
    assert start_ms < block_timestamp_s(network, member, BlockNumber(number + 1)) * 1_000
