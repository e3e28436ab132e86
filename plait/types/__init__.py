"""Domain types of the protocol: identifiers, amounts, and the records that pass between layers.

Level 0: imports nothing of Plait but `plait.limits` and `plait.errors`.
"""

from plait.types.bundle import Bundle, BundleTerms, Comparison, Condition, ConditionKind, FeeBid, Leg, LegTerms, Pin
from plait.types.identifiers import (
    Address,
    BlockNumber,
    ChainId,
    Hash32,
    Height,
    NetworkId,
    RollupId,
    Slot,
    SubIndex,
)
from plait.types.network import L1Origin, NetworkParameters, OrderingPolicy, RollupParameters
from plait.types.quantities import Gas, Milliseconds, Seconds, Wei

__all__ = [
    "Address",
    "BlockNumber",
    "Bundle",
    "BundleTerms",
    "ChainId",
    "Comparison",
    "Condition",
    "ConditionKind",
    "FeeBid",
    "Gas",
    "Hash32",
    "Height",
    "L1Origin",
    "Leg",
    "LegTerms",
    "Milliseconds",
    "NetworkId",
    "NetworkParameters",
    "OrderingPolicy",
    "Pin",
    "RollupId",
    "RollupParameters",
    "Seconds",
    "Slot",
    "SubIndex",
    "Wei",
]
