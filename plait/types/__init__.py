"""Domain types of the protocol: identifiers, amounts, and the records that pass between layers.

Level 0: imports nothing of Plait but `plait.limits` and `plait.errors`.
"""

from plait.types.bundle import Bundle, BundleTerms, Comparison, Condition, ConditionKind, FeeBid, Leg, LegTerms, Pin
from plait.types.consensus import (
    NOTHING_AGREED,
    Agreed,
    BlockIdFlag,
    CommitVote,
    ConsensusAddress,
    Misbehavior,
    MisbehaviorKind,
    ValidatorUpdate,
)
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
from plait.types.quantities import Amount, Gas, Milliseconds, Seconds, Wei

__all__ = [
    "NOTHING_AGREED",
    "Address",
    "Agreed",
    "Amount",
    "BlockIdFlag",
    "BlockNumber",
    "Bundle",
    "BundleTerms",
    "ChainId",
    "CommitVote",
    "Comparison",
    "Condition",
    "ConditionKind",
    "ConsensusAddress",
    "FeeBid",
    "Gas",
    "Hash32",
    "Height",
    "L1Origin",
    "Leg",
    "LegTerms",
    "Milliseconds",
    "Misbehavior",
    "MisbehaviorKind",
    "NetworkId",
    "NetworkParameters",
    "OrderingPolicy",
    "Pin",
    "RollupId",
    "RollupParameters",
    "Seconds",
    "Slot",
    "SubIndex",
    "ValidatorUpdate",
    "Wei",
]
