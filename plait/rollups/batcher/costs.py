"""What posting cost, by rollup. Pure. Totals are kept by the journal.

A posting's cost is shared by bytes: each rollup pays for its channel's part of the posting's data. Wei are whole: what
division leaves over goes to the rollup with the most bytes (the first of them), so that shares add up to the cost.
"""

from collections.abc import Mapping, Sequence

import msgspec

from plait.rollups.batcher.journal import Costs, Range
from plait.rollups.batcher.l1_access import L1Receipt
from plait.types import RollupId, Wei


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


def costs_of(ranges: Sequence[Range], receipts: Sequence[L1Receipt]) -> dict[int, Costs]:
    """What a posting cost each of its rollups.

    Args:
        ranges: of the posting, one per rollup.
        receipts: of those of its transactions that L1 took.
    """
    if not receipts:
        return {}
    return {
        part.rollup_id: Costs(
            postings=1,
            blocks=part.last - part.first + 1,
            bytes=share.bytes,
            gas=share.gas,
            blob_gas=share.blob_gas,
            wei=share.wei,
        )
        for part, share in zip(ranges, shares(ranges, receipts), strict=True)
    }


def added(totals: Mapping[int, Costs], *more: Mapping[int, Costs]) -> dict[int, Costs]:
    """Totals with what else was spent."""
    found = dict(totals)
    for one in more:
        for rollup_id, costs in one.items():
            found[rollup_id] = found.get(rollup_id, Costs()).plus(costs)
    return found


def _split(total: int, weights: Sequence[int]) -> list[int]:
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    parts[weights.index(max(weights))] += total - sum(parts)
    return parts
