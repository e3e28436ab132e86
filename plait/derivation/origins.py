"""Which L1 block a rollup's block has as its origin. Pure.

Rule (OP Stack specs, derivation: L1 origins; the choice within it is op-node's)
    - The next L1 block becomes the origin when it is known and not younger than the rollup's block: sequence number 0.
    - Otherwise the origin stays and the sequence number grows by one.
    - So an origin advances by at most one L1 block per block, as soon as it may. A chain without batches advances in
      the same way when derivation fills it, which is why both give the same blocks.
    - A block later than its origin's time by more than the sequencer drift holds deposits only.
"""

from typing import NamedTuple

from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.rollup_config import MAX_SEQUENCER_DRIFT_FJORD_S
from plait.types import Seconds


class Origin(NamedTuple):
    """Origin of one block and the block's place in the origin's epoch."""

    block: L1BlockFacts
    sequence_number: int


def next_origin(parent: Origin, following: L1BlockFacts | None, timestamp_s: Seconds) -> Origin:
    """Origin of the block after one with origin `parent`.

    Args:
        parent: of the block before.
        following: the L1 block after the parent's origin, as far as it is known.
        timestamp_s: of the new block.
    """
    if following is not None and following.timestamp <= timestamp_s:
        return Origin(following, 0)
    return Origin(parent.block, parent.sequence_number + 1)


def deposits_only(origin: L1BlockFacts, timestamp_s: Seconds) -> bool:
    """Whether a block of this time is too far ahead of its origin to hold transactions."""
    return timestamp_s > origin.timestamp + MAX_SEQUENCER_DRIFT_FJORD_S
