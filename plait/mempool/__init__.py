"""The pool of transactions that are not decided yet: admission, per-sender nonce queues, snapshots, statuses. Level
2."""

from plait.mempool.entries import Admitted
from plait.mempool.history import Decided, DroppedEnd, Pooled, Sealed, Status
from plait.mempool.pool import Pool, PoolLimits

__all__ = ["Admitted", "Decided", "DroppedEnd", "Pool", "PoolLimits", "Pooled", "Sealed", "Status"]
