"""What posting cost, by rollup. Pure.

A posting's cost is shared by bytes: each rollup pays for its channel's part of the posting's data. Wei are whole: what
division leaves over goes to the rollup with the most bytes (the first of them), so that shares add up to the cost.
"""

from collections.abc import Sequence

import msgspec

from plait.rollups.batcher.journal import Range
from plait.rollups.batcher.l1_access import L1Receipt
from plait.types import RollupId, Wei


class Costs(msgspec.Struct, kw_only=True):
    """Totals since the batcher started, of one rollup."""

    postings: int = 0
    blocks: int = 0
    bytes: int = 0
    gas: int = 0
    blob_gas: int = 0
    wei: int = 0

    def add(self, share: "Share", blocks: int) -> None:
        """Counts its share of one posting."""
        self.postings += 1
        self.blocks += blocks
        self.bytes += share.bytes
        self.gas += share.gas
        self.blob_gas += share.blob_gas
        self.wei += share.wei


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One rollup's part of one posting."""

    rollup_id: RollupId
    bytes: int
    gas: int
    blob_gas: int
    wei: Wei


def shares(ranges: Sequence[Range], receipts: Sequence[L1Receipt]) -> list[Share]:
    """Splits what a posting cost over its rollups by bytes.

    Args:
        ranges: of the posting, one per rollup.
        receipts: of all its transactions.
    """
    weights = [part.bytes for part in ranges]
    gas = _split(sum(receipt.gas_used for receipt in receipts), weights)
    blob_gas = _split(sum(receipt.blob_gas_used for receipt in receipts), weights)
    wei = _split(sum(receipt.cost_wei for receipt in receipts), weights)
    return [
        Share(rollup_id=part.rollup_id, bytes=part.bytes, gas=gas[at], blob_gas=blob_gas[at], wei=Wei(wei[at]))
        for at, part in enumerate(ranges)
    ]


def _split(total: int, weights: Sequence[int]) -> list[int]:
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    parts[weights.index(max(weights))] += total - sum(parts)
    return parts
