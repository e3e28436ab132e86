"""What the pools of a node hold, by the keys of the spread. Level 2."""

from typing import NamedTuple

from plait.mempool.actions import ActionPool
from plait.mempool.bundles import BundlePool
from plait.mempool.l1_items import L1Items
from plait.mempool.pool import Pool
from plait.mempool.spread import Entry, EntryKind, Key
from plait.types import Hash32

_ENDED = frozenset({"bundle_cancelled", "bundle_replaced"})
"""How a bundle ends that its sender ended: it does not come back."""


class Pools(NamedTuple):
    """Where entries wait."""

    transactions: Pool
    bundles: BundlePool
    actions: ActionPool | None = None
    l1_items: L1Items | None = None


class PoolContents:
    """What the pools hold, by key."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def waits(self, key: Key) -> bool:
        """Whether it is admitted and not decided, dropped or replaced."""
        kind, rollup_id, hash_ = key
        if kind is EntryKind.TRANSACTION:
            lane = self._pools.transactions.lanes.get(rollup_id)
            return lane is not None and hash_ in lane.by_hash
        if kind is EntryKind.BUNDLE:
            return self._pools.bundles.waits(hash_)
        actions = self._pools.actions
        return kind is EntryKind.ACTION and actions is not None and actions.waits(hash_)

    def entry(self, key: Key) -> Entry | None:
        """It, for sending."""
        kind, rollup_id, hash_ = key
        if kind is EntryKind.TRANSACTION:
            lane = self._pools.transactions.lanes.get(rollup_id)
            admitted = None if lane is None else lane.by_hash.get(hash_)
            return None if admitted is None else admitted.transaction.raw
        if kind is EntryKind.BUNDLE:
            return self._pools.bundles.handed_in(hash_)
        action = None if self._pools.actions is None else self._pools.actions.get(hash_)
        return None if action is None else action.raw

    def has_ended(self, key: Key) -> bool:
        """Whether it was decided, or a bundle withdrawn, as far as this node remembers: it is no news."""
        kind, rollup_id, hash_ = key
        if kind is EntryKind.TRANSACTION:
            pool = self._pools.transactions
            status = pool.status(rollup_id, hash_)
            if status is not None:
                return status.status in {"decided", "sealed"}
            return pool.lanes[rollup_id].rollup.transaction_location(hash_) is not None
        if kind is EntryKind.BUNDLE:
            found = self._pools.bundles.status(Hash32(hash_))
            if found is None or found.status == "received":
                return False
            return found.status != "dropped" or (found.mishap is not None and found.mishap.code in _ENDED)
        action = None if self._pools.actions is None else self._pools.actions.status(hash_)
        return action is not None and action.status == "decided"
