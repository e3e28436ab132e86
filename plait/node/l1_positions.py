"""Where a rollup stands on its L1, read from its own blocks: each restates its origin in its first transaction."""

from plait.derivation.l1_info import L1Attributes, decode_l1_attributes
from plait.derivation.rollup_config import OpStackConfig
from plait.native import Rollup
from plait.node.l1_alarms import RollupPosition
from plait.rollups.batcher.blocks import raw_transactions
from plait.types import BlockNumber, RollupId, Seconds


def position_of(native: Rollup, binding: OpStackConfig, posted: BlockNumber | None) -> RollupPosition:
    """Position of one rollup, for the alarms.

    Args:
        native: the rollup's blocks.
        binding: how it derives from L1.
        posted: its newest block that is on L1; None when nobody here knows.
    """
    head = native.head
    origin = _origin_of(native, head.number)
    unposted = None
    if posted is not None and posted < head.number:
        first = _origin_of(native, posted + 1)
        unposted = None if first is None else first.number
    return RollupPosition(
        rollup_id=RollupId(binding.chain_id),
        head_time_s=Seconds(head.timestamp),
        # a genesis block restates nothing: it stands at its own time
        origin_time_s=Seconds(head.timestamp) if origin is None else origin.timestamp,
        seq_window_blocks=binding.seq_window_blocks,
        unposted_origin=unposted,
    )


def _origin_of(native: Rollup, number: int) -> L1Attributes | None:
    """What a block says of its origin; None for a genesis, and for a block that is not held."""
    raw = native.raw_block(number)
    transactions = [] if raw is None else raw_transactions(raw)
    return decode_l1_attributes(transactions[0]) if transactions else None
