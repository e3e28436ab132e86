"""The batches that this node has the common pool keep, and for how long.

What holds
 - a batch is kept while any of its entries waits in this node's pools, and for SPREAD_KEPT_HEIGHTS at most; one with
   cancellations, which wait nowhere, for SPREAD_CANCEL_HEIGHTS at least
 - that is answered from the keys of its entries, without decoding it again. A key that was found not to wait is never
   looked at again, so that all answers about one batch cost its entries once
 - the common pool's room is shared: own batches and others' have bytes of their own, and thin batches of others, which
   take a place for little, are few. So nobody's batches keep out everybody else's

Pure. Level 2.
"""

from collections.abc import Callable, Sequence

from plait.limits import (
    BATCH_BYTES_MAX,
    SPREAD_BATCHES_MAX,
    SPREAD_CANCEL_HEIGHTS,
    SPREAD_HELD_BYTES_MAX,
    SPREAD_KEPT_HEIGHTS,
    SPREAD_SWEEP_BATCHES,
    SPREAD_THIN_BATCHES_MAX,
    SPREAD_THIN_ENTRIES,
)
from plait.mempool.spread_keys import EntryKind, Key
from plait.types import Hash32, Height


class _Held:
    """One batch."""

    __slots__ = ("kept_at_least", "kept_at_most", "keys", "own", "size", "thin")

    def __init__(self, keys: Sequence[Key], *, size: int, height: Height, own: bool) -> None:
        cancels = any(key.kind is EntryKind.CANCELLATION for key in keys)
        self.keys = [key for key in keys if key.kind is not EntryKind.CANCELLATION]
        """Those that may still wait; taken from the end."""
        self.kept_at_least = height + SPREAD_CANCEL_HEIGHTS if cancels else 0
        self.kept_at_most = height + SPREAD_KEPT_HEIGHTS
        self.own = own
        self.size = size
        self.thin = not own and is_thin(len(keys), size)


class HeldBatches:
    """All of them.

    Args:
        waits: whether an entry waits in this node's pools.
    """

    def __init__(self, waits: Callable[[Key], bool]) -> None:
        self._waits = waits
        self._held: dict[Hash32, _Held] = {}
        self._bytes = {True: 0, False: 0}
        self._thin = 0
        self.finished = 0

    def __contains__(self, batch_hash: object) -> bool:
        return batch_hash in self._held

    @property
    def has_own_room(self) -> bool:
        """Whether one more own batch fits, whatever its size."""
        return self._bytes[True] + BATCH_BYTES_MAX <= SPREAD_HELD_BYTES_MAX

    def has_room(self, size: int, entries: int) -> bool:
        """Whether another node's batch fits, of so many bytes and entries."""
        if is_thin(entries, size) and self._thin >= SPREAD_THIN_BATCHES_MAX:
            return False
        return self._bytes[False] + size <= SPREAD_HELD_BYTES_MAX

    def hold(self, batch_hash: Hash32, keys: Sequence[Key], *, size: int, height: Height, own: bool) -> None:
        """Notes a batch that is kept from now on."""
        if len(self._held) >= SPREAD_BATCHES_MAX:
            self.release(next(iter(self._held)))
        held = _Held(keys, size=size, height=height, own=own)
        self._held[batch_hash] = held
        self._bytes[own] += size
        self._thin += held.thin

    def is_kept(self, batch_hash: Hash32, height: Height) -> bool:
        """Whether a batch still has to be kept; one that need not, or is not known, is forgotten."""
        held = self._held.get(batch_hash)
        if held is None:
            return False
        if height < held.kept_at_most:
            keys, waits = held.keys, self._waits
            while keys:
                if waits(keys[-1]):
                    return True
                keys.pop()
            if height < held.kept_at_least:
                return True
        self.release(batch_hash)
        self.finished += 1
        return False

    def release(self, batch_hash: Hash32) -> None:
        """Forgets a batch, if it is held."""
        held = self._held.pop(batch_hash, None)
        if held is not None:
            self._bytes[held.own] -= held.size
            self._thin -= held.thin

    def sweep(self, height: Height) -> None:
        """Looks for finished batches about which nobody asks; all have their turn."""
        for _ in range(min(SPREAD_SWEEP_BATCHES, len(self._held))):
            batch_hash = next(iter(self._held))
            if self.is_kept(batch_hash, height):
                self._held[batch_hash] = self._held.pop(batch_hash)

    def statistics(self) -> dict[str, int]:
        """Counters for metrics."""
        return {
            "batches_held": len(self._held),
            "batches_held_max": SPREAD_BATCHES_MAX,
            "batches_held_thin": self._thin,
            "bytes_held_own": self._bytes[True],
            "bytes_held_others": self._bytes[False],
            "batches_finished": self.finished,
        }


def is_thin(entries: int, size: int) -> bool:
    """Whether a batch takes a place for little."""
    return entries < SPREAD_THIN_ENTRIES and 16 * size < BATCH_BYTES_MAX
