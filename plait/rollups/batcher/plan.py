"""Which blocks go to L1 next, and whether now. Pure.

All rollups go together: a posting holds, of each, every block up to one common time that is not posted yet, so that
their safe heads move together. The common time is the latest at which no rollup has a block that is still open.

It is time to post when one of these holds:
    window   the sequencing window of the oldest waiting block is nearly over (or a channel begun now would time out)
    size     the waiting blocks fill `target_bytes` compressed, by the ratio seen so far
    age      the oldest waiting block is older than `age_max_s`
    flush    somebody asked (shutdown, handover of a rollup)
and L1 takes what it was given: `waiting` transactions that are not included hold further ones back, unless the window
presses. What is more than `raw_bytes_max` goes in several postings.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from plait.limits import BATCHER_WAITING_MAX
from plait.types import BlockNumber, RollupId, Seconds

Reason = Literal["window", "size", "age", "flush"]


class PlanSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When to post."""

    age_max_s: int = 12
    target_bytes: int = 110_000
    """Compressed, over all rollups: about what one L1 transaction or blob carries."""
    raw_bytes_max: int = 8_000_000
    """Uncompressed, of one posting."""
    window_margin_blocks: int = 10
    """L1 blocks before the sequencing window ends at which to post whatever waits; op-batcher's sub-safety margin."""


class Waiting(msgspec.Struct, frozen=True):
    """A sealed block that is not posted."""

    number: BlockNumber
    timestamp: Seconds
    origin_number: BlockNumber
    data_bytes: int


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup's sealed blocks that are not posted, in order, and when its next one will be sealed at the earliest."""

    blocks: Sequence[Waiting]
    next_timestamp: Seconds
    """Of the first block that is not sealed."""
    seq_window_blocks: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to post now: per rollup the first and last block, both included; rollups without a block are missing."""

    reason: Reason
    ranges: dict[RollupId, tuple[BlockNumber, BlockNumber]]
    until_s: Seconds


def plan(
    backlogs: Mapping[RollupId, Backlog],
    *,
    l1_number: BlockNumber,
    now_s: Seconds,
    waiting: int,
    ratio: float,
    settings: PlanSettings,
    flush: bool = False,
) -> Plan | None:
    """What to post now; None to wait.

    Args:
        backlogs: of every rollup that is posted.
        l1_number: newest L1 block.
        now_s: time now.
        waiting: transactions of the batcher that L1 has not included.
        ratio: compressed bytes per uncompressed byte, as seen lately.
        settings: when to post.
        flush: post what there is.
    """
    until = _common_time(backlogs)
    ready = {
        rollup_id: [block for block in backlog.blocks if block.timestamp <= until]
        for rollup_id, backlog in sorted(backlogs.items())
    }
    ready = {rollup_id: blocks for rollup_id, blocks in ready.items() if blocks}
    if not ready:
        return None
    reason = _reason(backlogs, ready, l1_number=l1_number, now_s=now_s, ratio=ratio, settings=settings, flush=flush)
    if reason is None or (waiting >= BATCHER_WAITING_MAX and reason != "window"):
        return None
    until = _bounded(ready, until, settings.raw_bytes_max)
    ranges = {}
    for rollup_id, blocks in ready.items():
        taken = [block for block in blocks if block.timestamp <= until]
        if taken:
            ranges[rollup_id] = (taken[0].number, taken[-1].number)
    return Plan(reason=reason, ranges=ranges, until_s=until)


def _common_time(backlogs: Mapping[RollupId, Backlog]) -> Seconds:
    """The latest time up to which every rollup's blocks are sealed."""
    return Seconds(min((backlog.next_timestamp for backlog in backlogs.values()), default=Seconds(0)) - 1)


def _reason(
    backlogs: Mapping[RollupId, Backlog],
    ready: Mapping[RollupId, list[Waiting]],
    *,
    l1_number: BlockNumber,
    now_s: Seconds,
    ratio: float,
    settings: PlanSettings,
    flush: bool,
) -> Reason | None:
    for rollup_id, blocks in ready.items():
        last_chance = blocks[0].origin_number + backlogs[rollup_id].seq_window_blocks - settings.window_margin_blocks
        # A window shorter than twice the margin would press always; then half of it is the margin.
        last_chance = max(last_chance, blocks[0].origin_number + backlogs[rollup_id].seq_window_blocks // 2)
        if l1_number >= last_chance:
            return "window"
    if flush:
        return "flush"
    raw = sum(block.data_bytes for blocks in ready.values() for block in blocks)
    if raw * ratio >= settings.target_bytes or raw >= settings.raw_bytes_max:
        return "size"
    oldest = min(blocks[0].timestamp for blocks in ready.values())
    return "age" if now_s - oldest >= settings.age_max_s else None


def _bounded(ready: Mapping[RollupId, list[Waiting]], until: Seconds, raw_bytes_max: int) -> Seconds:
    """The latest common time at which the blocks are small enough; at least the oldest block's."""
    sizes: dict[int, int] = {}
    for blocks in ready.values():
        for block in blocks:
            sizes[block.timestamp] = sizes.get(block.timestamp, 0) + block.data_bytes
    taken = 0
    before: int | None = None
    for timestamp in sorted(sizes):
        taken += sizes[timestamp]
        if taken > raw_bytes_max and before is not None:
            return Seconds(before)
        before = timestamp
    return until
