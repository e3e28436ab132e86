"""The ledger moves only by a sub-block that continues it, and names what moved."""

import msgspec
import pytest

from plait.errors import ConfigurationError, InvariantBroken
from plait.ledger.state import LedgerState, OpenBlockRecord, genesis_state
from plait.ledger.transition import HeadMoved, RollupProgress, SubBlockApplied, apply
from plait.types import (
    BlockNumber,
    Gas,
    Hash32,
    Height,
    Milliseconds,
    NetworkId,
    NetworkParameters,
    OrderingPolicy,
    RollupId,
    RollupParameters,
    Seconds,
    Slot,
    SubIndex,
    Wei,
)

NETWORK = NetworkParameters(
    network_id=NetworkId(7), genesis_time_s=Seconds(1_000), slot_ms=Milliseconds(1_000), sub_blocks_per_slot=4
)


def rollup(rollup_id: int = 901, **changes: object) -> RollupParameters:
    parameters = RollupParameters(
        rollup_id=RollupId(rollup_id),
        genesis_hash=Hash32(bytes([rollup_id % 256]) * 32),
        block_time_slots=1,
        gas_limit=Gas(30_000_000),
        ordering=OrderingPolicy.PRIORITY_FEE,
        da_footprint_gas_scalar=400,
        eip1559_denominator=250,
        eip1559_elasticity=6,
        min_base_fee=Wei(0),
        operator_fee_scalar=0,
        operator_fee_constant=0,
        base_fee_scalar=0,
        blob_base_fee_scalar=0,
    )
    return msgspec.structs.replace(parameters, **changes)


def genesis() -> LedgerState:
    return genesis_state(NETWORK, (rollup(902), rollup(901)))


def open_block(number: int) -> OpenBlockRecord:
    return OpenBlockRecord(number=BlockNumber(number), gas_used=Gas(0), da_footprint=Gas(0), transaction_count=1)


def progress(rollup_id: int, head: int) -> RollupProgress:
    return RollupProgress(
        rollup_id=RollupId(rollup_id),
        head_number=BlockNumber(head),
        head_hash=Hash32(bytes([head]) * 32),
        open_block=open_block(head + 1),
    )


def sub_block(**changes: object) -> SubBlockApplied:
    valid = SubBlockApplied(
        height=Height(1),
        slot=Slot(2),
        sub_index=SubIndex(0),
        time_ms=Milliseconds(1_002_000),
        progress=(progress(901, 1), progress(902, 1)),
        economy=genesis().economy,
    )
    return msgspec.structs.replace(valid, **changes)


def test_genesis_sorts_rollups_and_stands_at_slot_0() -> None:
    state = genesis()
    assert state.rollup_ids == (901, 902)
    assert (state.height, state.slot, state.sub_index, state.time_ms) == (0, 0, 0, 1_000_000)
    assert all(record.newest_number == 0 for record in state.rollups)


@pytest.mark.parametrize(
    ("rollups", "code"),
    [
        ((), "rollup_count"),
        ((rollup(), rollup()), "rollup_duplicate"),
        ((rollup(gas_limit=1),), "rollup_parameter_out_of_range"),
        ((rollup(block_time_slots=61),), "rollup_parameter_out_of_range"),
        ((rollup(genesis_hash=b"short"),), "rollup_parameter_out_of_range"),
    ],
)
def test_genesis_refuses_unusable_registries(rollups: tuple[RollupParameters, ...], code: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        genesis_state(NETWORK, rollups)
    assert refusal.value.code == code


def test_genesis_refuses_timestamps_that_are_not_whole_seconds() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        genesis_state(msgspec.structs.replace(NETWORK, slot_ms=1_500), (rollup(),))
    assert refusal.value.code == "block_time_not_whole_seconds"
    genesis_state(msgspec.structs.replace(NETWORK, slot_ms=1_500), (rollup(block_time_slots=2),))


def test_a_sub_block_moves_the_ledger_and_names_the_heads_that_moved() -> None:
    before = genesis()
    after, effects = apply(before, sub_block())
    assert (after.height, after.slot, after.sub_index) == (1, 2, 0)
    assert [record.newest_number for record in after.rollups] == [2, 2]
    first = HeadMoved(rollup_id=RollupId(901), first=BlockNumber(1), last=BlockNumber(1), head_hash=Hash32(b"\1" * 32))
    assert effects[0] == first
    assert before == genesis(), "a transition changes nothing of its argument"


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 2},
        {"time_ms": 999_999},
        {"slot": 0},
        {"sub_index": 1},
        {"progress": (progress(901, 1),)},
        {"progress": (progress(902, 1), progress(901, 1))},
        {"progress": (msgspec.structs.replace(progress(901, 1), open_block=open_block(5)), progress(902, 1))},
    ],
)
def test_a_sub_block_that_does_not_continue_the_ledger_stops_the_node(changes: dict[str, object]) -> None:
    with pytest.raises(InvariantBroken):
        apply(genesis(), sub_block(**changes))
