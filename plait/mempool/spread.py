"""The bookkeeping of the spread: what a node sends to the others, what came from them, what has to be sent again.

Every node sends what clients handed in there (its *own* entries) to all others, in batches that travel through the
network's common pool (CometBFT's; nothing in here knows it). A batch is *kept* there while any of its entries waits in
this node's pools, and leaves when all of them are decided, dropped or replaced here.

What holds
 - an own entry is sent once, unless another node's batch carried it first; and again after SPREAD_AGAIN_HEIGHTS, then
   after twice as many, and so on, as long as it waits. So it reaches everybody although batches are lost, and a node
   that was away gets it late
 - what another node's batch brought is not sent by this node
 - own batches have their share of the common pool (`plait.mempool.held_batches`); while it is used up, own entries wait
 - everything is bounded (limits.py, "spread"); when a bound is reached the oldest is forgotten, which costs a
   repetition or a late arrival, never the entry itself: that is in the pools

Pure: heights are arguments, and the pools are asked through `Contents`. Level 2. Lives on one thread (the event
loop's).
"""

from collections.abc import Sequence
from typing import NamedTuple

from plait.codec.batch import (
    Batch,
    BundleEntry,
    Cancellation,
    LabelCancellation,
    batch_hash_of,
    encode_batch,
    encode_bundle_entry,
    encode_cancellation,
)
from plait.limits import (
    BATCH_BYTES_MAX,
    BATCH_ENTRIES_MAX,
    SPREAD_AGAIN_DOUBLINGS,
    SPREAD_AGAIN_HEIGHTS,
    SPREAD_CARRIED_HEIGHTS,
    SPREAD_CARRIED_MAX,
    SPREAD_OWN_MAX,
)
from plait.mempool.held_batches import HeldBatches
from plait.mempool.spread_keys import NO_ROLLUP, Contents, Entry, EntryKind, Key, key_of_cancellation
from plait.types import Hash32, Height, RollupId

_FRAME_BYTES = 16
"""RLP prefixes around an entry and, for a transaction, its share of the group; more than needed."""
_HEAD_BYTES = 64
"""Version, height and the prefixes of the columns."""


class Outgoing(NamedTuple):
    """A batch to send."""

    hash: Hash32
    data: bytes
    keys: tuple[Key, ...]
    cancellations: tuple[Cancellation | LabelCancellation, ...]


class Spread:
    """What one node sends and has seen."""

    def __init__(self, contents: Contents, *, own_max: int = SPREAD_OWN_MAX) -> None:
        self._contents = contents
        self._own_max = own_max
        self.height = Height(0)
        self._fresh: dict[Key, None] = {}
        """Own entries to send, in order."""
        self._fresh_bytes = 0
        self._sizes: dict[Key, int] = {}
        self._sent: list[dict[Key, Height]] = [{} for _ in range(SPREAD_AGAIN_DOUBLINGS + 1)]
        """Own entries that are on their way, and since when, oldest first; by how often they were sent again."""
        self._again: dict[Key, int] = {}
        """Entries to send that were sent before, and how often again."""
        self._cancellations: dict[Key, Cancellation | LabelCancellation] = {}
        """Own ones to send: no pool holds them."""
        self._carried: dict[Key, Height] = {}
        """Entries that a batch carried lately, and when; oldest first."""
        self.held = HeldBatches(contents.waits)
        self.batches_sent = 0
        self.entries_sent = 0
        self.entries_again = 0
        self.entries_forgotten = 0
        self.batches_taken = 0

    # ------------------------------------------------------------ own entries
    @property
    def waiting(self) -> int:
        """Own entries that are to be sent."""
        return len(self._fresh)

    @property
    def half_full(self) -> bool:
        """Whether half a batch is to be sent."""
        return 2 * len(self._fresh) >= BATCH_ENTRIES_MAX or 2 * self._fresh_bytes >= BATCH_BYTES_MAX

    def collect(self, key: Key, size: int) -> None:
        """Notes an own entry: a client handed it in here, or a batch brought it that is not kept.

        Args:
            key: of the entry.
            size: about, in bytes.
        """
        if key in self._fresh:
            return
        for sent in self._sent:
            sent.pop(key, None)
        if len(self._fresh) + sum(map(len, self._sent)) >= self._own_max:
            self._forget_one()
        self._fresh[key] = None
        self._sizes[key] = size
        self._fresh_bytes += size

    def _forget_one(self) -> None:
        self.entries_forgotten += 1
        for sent in self._sent:
            if sent:
                del sent[next(iter(sent))]
                return
        key = next(iter(self._fresh))
        self._drop_fresh(key)
        self._again.pop(key, None)

    def collect_cancellation(self, entry: Cancellation | LabelCancellation) -> Key:
        """As `collect`, for a cancellation that had an effect here."""
        key = key_of_cancellation(entry)
        self._cancellations[key] = entry
        self.collect(key, len(encode_cancellation(entry)))
        return key

    def next_batch(self) -> Outgoing | None:
        """Takes own entries for one batch; from now on it counts as sent and kept. None when there is nothing, or no
        room for it until something is decided."""
        if not self.held.has_own_room:
            return None
        keys: list[Key] = []
        entries: list[Entry] = []
        size = _HEAD_BYTES  # of the batch so far
        while self._fresh and len(keys) < BATCH_ENTRIES_MAX:
            key = next(iter(self._fresh))
            if key in self._carried:
                self._drop_fresh(key)
                self._note_sent(key, self._carried[key])
                continue
            entry = self._cancellations.get(key) or self._contents.entry(key)
            if entry is None:
                self._drop_fresh(key)
                self._again.pop(key, None)
                continue
            size += _size_of(entry) + _FRAME_BYTES
            if size > BATCH_BYTES_MAX:
                if keys:
                    break
                self._drop_fresh(key)  # alone above the bound: it stays this node's to propose
                self.entries_forgotten += 1
                size = _HEAD_BYTES
                continue
            self._drop_fresh(key)
            keys.append(key)
            entries.append(entry)
        if not keys:
            return None
        batch = _batch_of(self.height, keys, entries)
        data = encode_batch(batch)
        outgoing = Outgoing(batch_hash_of(data), data, tuple(keys), batch.cancellations)
        self._hold(outgoing.hash, keys, len(data), own=True)
        for key in keys:
            self._note_sent(key, self.height)
        self.batches_sent += 1
        self.entries_sent += len(keys)
        return outgoing

    def failed(self, outgoing: Outgoing) -> None:
        """The common pool did not take a batch: its entries are to be sent later."""
        self.held.release(outgoing.hash)
        self.batches_sent -= 1
        self.entries_sent -= len(outgoing.keys)
        later, self._fresh = self._fresh, {}  # they go before what came meanwhile: nonces stay in order
        for key in outgoing.keys:
            self._carried.pop(key, None)
            if key.kind is not EntryKind.CANCELLATION and key not in later:
                self.collect(key, 0)
        for entry in outgoing.cancellations:
            self.collect_cancellation(entry)
        self._fresh |= later

    def _note_sent(self, key: Key, height: Height) -> None:
        if key.kind is EntryKind.CANCELLATION:
            return  # it took effect here: there is nothing to wait for
        sent = self._sent[self._again.pop(key, 0)]
        sent.pop(key, None)
        sent[key] = height

    def _drop_fresh(self, key: Key) -> None:
        del self._fresh[key]
        self._fresh_bytes -= self._sizes.pop(key)
        self._cancellations.pop(key, None)

    # ------------------------------------------------------------ batches of others
    def holds(self, batch_hash: Hash32) -> bool:
        """Whether a batch was sent or taken in by this node, and is not known to be finished."""
        return batch_hash in self.held

    def is_overdue(self, key: Key) -> bool:
        """Whether no batch carried an entry lately."""
        return key not in self._carried

    def take_in(self, batch_hash: Hash32, keys: Sequence[Key], size: int) -> None:
        """Notes another node's batch, which the common pool is to keep.

        Args:
            batch_hash: of the batch.
            keys: its entries that wait here, and its cancellations that had an effect here.
            size: of the batch, bytes; `held.has_room` said that there is room.
        """
        self._hold(batch_hash, keys, size, own=False)
        self.batches_taken += 1

    def is_kept(self, batch_hash: Hash32) -> bool:
        """Whether a batch still has to be kept; one that need not, or is not known, is forgotten."""
        return self.held.is_kept(batch_hash, self.height)

    def _hold(self, batch_hash: Hash32, keys: Sequence[Key], size: int, *, own: bool) -> None:
        self.held.hold(batch_hash, keys, size=size, height=self.height, own=own)
        carried = self._carried
        for key in keys:
            carried.pop(key, None)
            carried[key] = self.height
        while len(carried) > SPREAD_CARRIED_MAX:
            del carried[next(iter(carried))]

    # ------------------------------------------------------------ time
    def on_decided(self, height: Height) -> None:
        """Follows a decided sub-block, after the pools did: forgets what is over, finds what is to be sent again."""
        self.height = height
        while self._carried and self._carried[key := next(iter(self._carried))] <= height - SPREAD_CARRIED_HEIGHTS:
            del self._carried[key]
        for doublings, sent in enumerate(self._sent):
            while sent and sent[key := next(iter(sent))] <= height - (SPREAD_AGAIN_HEIGHTS << doublings):
                del sent[key]
                if self._contents.waits(key):
                    self.entries_again += 1
                    self.collect(key, 0)
                    self._again[key] = min(doublings + 1, SPREAD_AGAIN_DOUBLINGS)
        self.held.sweep(height)

    def statistics(self) -> dict[str, int]:
        """Counters for metrics."""
        return {
            "entries_to_send": len(self._fresh),
            "entries_on_their_way": sum(map(len, self._sent)),
            "entries_sent": self.entries_sent,
            "entries_sent_again": self.entries_again,
            "entries_forgotten": self.entries_forgotten,
            "batches_sent": self.batches_sent,
            "batches_taken": self.batches_taken,
            **self.held.statistics(),
        }


def _size_of(entry: Entry) -> int:
    if isinstance(entry, bytes):
        return len(entry)
    return len(encode_bundle_entry(entry) if isinstance(entry, BundleEntry) else encode_cancellation(entry))


def _batch_of(height: Height, keys: Sequence[Key], entries: Sequence[Entry]) -> Batch:
    groups: dict[RollupId, list[bytes]] = {}
    bundles: list[BundleEntry] = []
    cancellations: list[Cancellation | LabelCancellation] = []
    actions: list[bytes] = []
    for key, entry in zip(keys, entries, strict=True):
        if isinstance(entry, bytes):
            (groups.setdefault(key.rollup_id, []) if key.kind is EntryKind.TRANSACTION else actions).append(entry)
        elif isinstance(entry, BundleEntry):
            bundles.append(entry)
        else:
            cancellations.append(entry)
    return Batch(
        height=height,
        transactions=tuple((rollup_id, tuple(groups[rollup_id])) for rollup_id in sorted(groups)),
        bundles=tuple(bundles),
        cancellations=tuple(cancellations),
        actions=tuple(actions),
    )


__all__ = ["NO_ROLLUP", "Contents", "Entry", "EntryKind", "Key", "Outgoing", "Spread", "key_of_cancellation"]
