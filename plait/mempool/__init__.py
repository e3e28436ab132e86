"""The pool of transactions that are not decided yet: admission, per-sender nonce queues, snapshots, statuses. Level
2."""

from plait.mempool.bundles import BundlePool, BundleStatus, Label, Mishap, Placement
from plait.mempool.entries import Admitted
from plait.mempool.history import Decided, DroppedEnd, Pooled, Sealed, Status
from plait.mempool.pool import Pool, PoolLimits
from plait.mempool.reservations import Reservation

__all__ = [
    "Admitted",
    "BundlePool",
    "BundleStatus",
    "Decided",
    "DroppedEnd",
    "Label",
    "Mishap",
    "Placement",
    "Pool",
    "PoolLimits",
    "Pooled",
    "Reservation",
    "Sealed",
    "Status",
]
