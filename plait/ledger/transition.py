"""`apply(state, input) -> (state, effects)`: the ledger's only way to change.

The input is what one decided sub-block did to the rollups, as execution found it; the transition checks that it fits
the state and returns the next state. It performs no IO and reads nothing but its arguments.

Level 3, pure. A mismatch is a bug of the caller (execution and grid fix every value), hence InvariantBroken, never a
refusal.
"""

import msgspec

from plait.errors import InvariantBroken
from plait.ledger.economy import Economy
from plait.ledger.l1 import L1State
from plait.ledger.state import LedgerState, OpenBlockRecord, RollupRecord
from plait.types import BlockNumber, Hash32, Height, Milliseconds, RollupId, Slot, SubIndex


class RollupProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup after a sub-block."""

    rollup_id: RollupId
    head_number: BlockNumber
    head_hash: Hash32
    open_block: OpenBlockRecord | None


class SubBlockApplied(msgspec.Struct, frozen=True, kw_only=True):
    """Input: one sub-block. `progress` holds every rollup of the registry, in its order; `economy` is what the steps of
    the economy made of the one before."""

    height: Height
    slot: Slot
    sub_index: SubIndex
    time_ms: Milliseconds
    progress: tuple[RollupProgress, ...]
    economy: Economy
    l1: L1State | None = None


class HeadMoved(msgspec.Struct, frozen=True, kw_only=True):
    """Effect: blocks of a rollup were sealed; `first` to `last` inclusive."""

    rollup_id: RollupId
    first: BlockNumber
    last: BlockNumber
    head_hash: Hash32


LedgerEffect = HeadMoved


def apply(state: LedgerState, sub_block: SubBlockApplied) -> tuple[LedgerState, tuple[LedgerEffect, ...]]:
    """Next state and effects.

    Raises:
        InvariantBroken: `ledger_input_wrong` when the input does not continue the state.
    """
    _require(sub_block.height == state.height + 1, "height", state.height, sub_block.height)
    _require(sub_block.time_ms >= state.time_ms, "time_ms", state.time_ms, sub_block.time_ms)
    position_grows = (
        sub_block.sub_index == state.sub_index + 1 if sub_block.slot == state.slot else sub_block.sub_index == 0
    )
    _require(sub_block.slot >= state.slot and position_grows, "slot", state.slot, sub_block.slot)
    _require(len(sub_block.progress) == len(state.rollups), "rollups", len(state.rollups), len(sub_block.progress))

    records: list[RollupRecord] = []
    effects: list[LedgerEffect] = []
    for record, progress in zip(state.rollups, sub_block.progress, strict=True):
        _require(record.rollup_id == progress.rollup_id, "rollup_id", record.rollup_id, progress.rollup_id)
        _require(progress.head_number >= record.head_number, "head_number", record.head_number, progress.head_number)
        open_block = progress.open_block
        _require(
            open_block is None or open_block.number == progress.head_number + 1,
            "open_block",
            progress.head_number,
            open_block.number if open_block is not None else 0,
        )
        if progress.head_number > record.head_number:
            effects.append(
                HeadMoved(
                    rollup_id=record.rollup_id,
                    first=BlockNumber(record.head_number + 1),
                    last=progress.head_number,
                    head_hash=progress.head_hash,
                )
            )
        records.append(
            RollupRecord(
                parameters=record.parameters,
                head_number=progress.head_number,
                head_hash=progress.head_hash,
                open_block=open_block,
                epochs=record.epochs,
            )
        )
    after = LedgerState(
        parameters=state.parameters,
        height=sub_block.height,
        slot=sub_block.slot,
        sub_index=sub_block.sub_index,
        time_ms=sub_block.time_ms,
        rollups=tuple(records),
        economy=sub_block.economy,
        l1=sub_block.l1,
    )
    return after, tuple(effects)


def _require(holds: bool, what: str, before: int, after: int) -> None:
    if not holds:
        raise InvariantBroken(
            f"the ledger cannot go from {what} {before} to {after}",
            code="ledger_input_wrong",
            before=before,
            after=after,
        )
