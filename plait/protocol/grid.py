"""The time grid that all rollups share: which slot a time lies in, which block a slot belongs to, and what a sub-block
may do.

Everything here is a pure function of agreed data: network parameters, where the ledger stands, and the engine's time
of the height.

- Slot `s` covers [genesis + s*slot_ms, genesis + (s+1)*slot_ms). Block `n` of a rollup covers slots f = start + n*k to
  f + k - 1, with k its block time in slots and start the slot at which it joined, a multiple of k; its timestamp is
  genesis + f*slot_ms, as the OP Stack demands of every chain.
- Genesis counts as sub-block 0 of slot 0. A sub-block in the slot of the one before has the next sub-index; a new slot
  starts at 0.
- A pause leaves a debt of blocks. One sub-block pays at most CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX of them per rollup, and
  about CATCH_UP_BLOCKS_IN_ALL_MAX in all; its slot is the slot of its time, or the last one within reach when that is
  earlier, but never one before the last. Rollups that went back (`plait.protocol.unwinding`) can have a longer debt
  than that slot leaves: they take no items while they are behind it.
- A sub-block that has not reached the slot of its time, or whose sub-index is SUB_BLOCKS_PER_SLOT_MAX or above,
  carries no items. (It is not refused: an agreement engine may have fixed the time of a height, and refusing every
  proposal of that height would stop the network.)

Level 4, pure.
"""

from collections.abc import Iterable

import msgspec

from plait.errors import ProposalRefused
from plait.limits import CATCH_UP_BLOCKS_IN_ALL_MAX, CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX, SUB_BLOCKS_PER_SLOT_MAX
from plait.types import BlockNumber, Milliseconds, NetworkParameters, RollupParameters, Seconds, Slot, SubIndex


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sub-block lies on the grid."""

    slot: Slot
    sub_index: SubIndex
    carries_items: bool
    """False while catching up and beyond the last sub-index of a slot."""


def slot_at(parameters: NetworkParameters, time_ms: Milliseconds) -> Slot:
    """Slot that a point in time lies in; negative before genesis."""
    return Slot((time_ms - parameters.genesis_time_s * 1_000) // parameters.slot_ms)


def slot_start_ms(parameters: NetworkParameters, slot: Slot) -> Milliseconds:
    """First millisecond of a slot, Unix time."""
    return Milliseconds(parameters.genesis_time_s * 1_000 + slot * parameters.slot_ms)


def block_timestamp_s(parameters: NetworkParameters, rollup: RollupParameters, number: BlockNumber) -> Seconds:
    """Timestamp of a rollup's block, Unix seconds. Whole by `RollupParameters.check`."""
    return Seconds(slot_start_ms(parameters, rollup.first_slot(number)) // 1_000)


def blocks_per_sub_block(rollups: int) -> int:
    """Blocks that each of so many rollups may fill in one sub-block."""
    return min(CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX, CATCH_UP_BLOCKS_IN_ALL_MAX // max(1, rollups))


def slot_within_reach(blocks: Iterable[tuple[RollupParameters, BlockNumber]]) -> Slot | None:
    """Last slot that one sub-block can reach without filling more blocks of a rollup than the bound allows.

    Args:
        blocks: every rollup with the number of its newest block (open, or genesis).

    Returns:
        The slot, or None when there is no rollup and so no limit.
    """
    newest = list(blocks)
    if not newest:
        return None
    most = blocks_per_sub_block(len(newest))
    return min(rollup.last_slot(BlockNumber(number + most)) for rollup, number in newest)


def next_position(
    parameters: NetworkParameters,
    *,
    time_ms: Milliseconds,
    previous_slot: Slot,
    previous_sub_index: SubIndex,
    previous_time_ms: Milliseconds,
    blocks: Iterable[tuple[RollupParameters, BlockNumber]],
) -> Position:
    """Where the sub-block of a height with this agreed time lies.

    Args:
        parameters: of the network.
        time_ms: agreed time of the height, Unix milliseconds.
        previous_slot, previous_sub_index, previous_time_ms: of the height before; genesis: 0, 0 and the genesis time.
        blocks: as in `slot_within_reach`.

    Raises:
        ProposalRefused: `time_before_previous` when time runs backwards.
    """
    if time_ms < previous_time_ms:
        raise ProposalRefused(
            f"the time {time_ms} ms is before {previous_time_ms} ms, the time of the height before",
            code="time_before_previous",
            time_ms=time_ms,
            previous_time_ms=previous_time_ms,
        )
    now = slot_at(parameters, time_ms)
    reach = slot_within_reach(blocks)
    slot = now if reach is None or now <= reach else max(reach, previous_slot)
    sub_index = SubIndex(previous_sub_index + 1) if slot == previous_slot else SubIndex(0)
    return Position(slot=slot, sub_index=sub_index, carries_items=slot == now and sub_index < SUB_BLOCKS_PER_SLOT_MAX)
