"""The pool of transactions that are not decided yet: admission, per-sender nonce queues, snapshots, statuses. Level
2."""

from plait.mempool.bundles import BundlePool, BundleStatus, Mishap, Placement
from plait.mempool.entries import Admitted
from plait.mempool.history import Decided, DroppedEnd, Pooled, Sealed, Status
from plait.mempool.pool import Pool, PoolLimits

__all__ = [
    "Admitted",
    "BundlePool",
    "BundleStatus",
    "Decided",
    "DroppedEnd",
    "Mishap",
    "Placement",
    "Pool",
    "PoolLimits",
    "Pooled",
    "Sealed",
    "Status",
]
