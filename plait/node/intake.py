"""The intake of the spread: judges the batches that CometBFT asks about (CheckTx), takes their entries into the pools.

A batch is kept by CometBFT while `check` says so: at first when it brought something, or when something in it waits
here that no batch carried lately; at each recheck while any of its entries waits here. CheckTx names no peer, so floods
are bounded by what they cost:
 1. a batch that is not canonical costs one pass over its bytes and is refused; batches and entries are bounded
 2. entries that are known, or that have ended here, cost a hash and a lookup
 3. new entries are checked in parts of 4, 16, 64, ...: a batch of which more is refused than admitted, and 4 beyond,
    is left, so that waste needs as many good entries, which are paid for and bound by their senders' quotas
 4. once refused entries of one second exceed SPREAD_REFUSED_PER_S_MAX, the first part is a single entry, and has to
    be good
 5. a batch without news is not passed on: each waiting entry can be carried once in SPREAD_CARRIED_HEIGHTS
 6. once batches of one second that brought nothing exceed SPREAD_WASTED_BYTES_PER_S_MAX, further ones are refused
    unread; agreement goes on meanwhile, and what clients hand in here reaches a block when this node leads
What a batch brought that is not kept, this node sends itself.

Decoding of more than a few transactions runs in a thread; everything else on the event loop. Level 6.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from hashlib import sha256
from typing import TypeVar

from plait.codec.batch import (
    Batch,
    BundleEntry,
    Cancellation,
    LabelCancellation,
    batch_hash_of,
    decode_batch,
)
from plait.codec.l1_items import is_l1_item
from plait.errors import ActionRefused, BundleRefused, CodecError, PlaitError, TransactionRefused
from plait.execution.bundles import DecodedBundle
from plait.limits import (
    BATCH_BYTES_MAX,
    SPREAD_CANCELS_EARLY_MAX,
    SPREAD_DECODE_INLINE_MAX,
    SPREAD_PROBE_ENTRIES,
    SPREAD_REFUSED_PER_S_MAX,
    SPREAD_WASTED_BYTES_PER_S_MAX,
)
from plait.mempool import Admitted
from plait.mempool.bundle_records import Label
from plait.mempool.contents import PoolContents, Pools
from plait.mempool.label_requests import SeenRequests, label_of
from plait.mempool.spread import NO_ROLLUP, EntryKind, Key, Spread, key_of_cancellation
from plait.native import Refusal, Transaction, keccak256_many
from plait.types import Hash32, Milliseconds, RollupId, Slot

_T = TypeVar("_T")
_PART_MAX = 1_024
"""New transactions that are admitted without a pause of the event loop."""
_PART_RECOVERED_MAX = 64
"""The same of bundles and actions, whose cost is larger."""


class BatchCode(IntEnum):
    """CheckTx's answer."""

    KEPT = 0
    MALFORMED = 1
    REFUSED = 2
    KNOWN = 3
    FINISHED = 4


class RefusalBudget:
    """Refused entries that may be wasted per second; a second's worth at once."""

    def __init__(self, per_s: int = SPREAD_REFUSED_PER_S_MAX, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._left = float(per_s)
        self._at = clock()

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left now."""
        now = self._clock()
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        return self._left < 1

    def spend(self, count: int) -> None:
        """Takes so many, also more than are left: up to a second's worth is owed."""
        self._left = max(self._left - count, -float(self._per_s))


class _Found:
    """What became of one batch's entries so far."""

    def __init__(self, slack: int) -> None:
        self.slack = slack
        self.brought: list[tuple[Key, int]] = []
        """Admitted, or a cancellation with effect; and its size."""
        self.waiting: list[Key] = []
        self.cancellations: list[Cancellation | LabelCancellation] = []
        self.refused = 0
        self.reason: PlaitError | None = None

    def refuse(self, error: PlaitError) -> None:
        self.refused += 1
        if self.reason is None:
            self.reason = error

    @property
    def is_poor(self) -> bool:
        """Whether so much more was refused than admitted that the rest is not looked at."""
        return self.refused > len(self.brought) + self.slack


class Intake:
    """Judges batches.

    Args:
        spread: this node's bookkeeping.
        pools: of this node.
        now_ms: Unix milliseconds, never falling.
        slot: of the clock.
    """

    def __init__(
        self,
        spread: Spread,
        pools: Pools,
        *,
        now_ms: Callable[[], Milliseconds],
        slot: Callable[[], Slot],
        budget: RefusalBudget | None = None,
        waste: RefusalBudget | None = None,
    ) -> None:
        self._spread = spread
        self._pools = pools
        self._contents = PoolContents(pools)
        self._now_ms = now_ms
        self._slot = slot
        self._budget = budget or RefusalBudget()
        self._waste = waste or RefusalBudget(SPREAD_WASTED_BYTES_PER_S_MAX)
        self._requests = SeenRequests()
        self._early: dict[Hash32, bytes] = {}
        """Signatures of cancellations whose bundle has not come."""
        self.is_taking = False
        """While the pools admit what a batch brought: it is not this node's own."""
        self.verdicts = dict.fromkeys(BatchCode, 0)
        self.rechecks = 0
        self.entries_brought = 0
        self.entries_known = 0
        self.entries_refused = 0

    async def check(self, data: bytes, recheck: bool) -> tuple[int, str]:
        """CheckTx: whether CometBFT keeps a batch.

        Args:
            data: the batch, from anybody.
            recheck: it is kept already, and a sub-block was decided since.

        Returns:
            A BatchCode, 0 for "keep", and a sentence that begins with a stable code when it is another.
        """
        if is_l1_item(data):
            return self._check_report(data, recheck)
        if recheck:
            self.rechecks += 1
            return self._keep(batch_hash_of(data))
        if self._waste.is_spent and not self._spread.holds(batch_hash_of(data)):
            self.verdicts[BatchCode.REFUSED] += 1
            return BatchCode.REFUSED, _told("batch_unread", "too much came that brought nothing; it is sent again")
        brought = self.entries_brought
        code, sentence = await self._check_new(data)
        self.verdicts[code] += 1
        if code is not BatchCode.KEPT and brought == self.entries_brought:
            self._waste.spend(len(data))
        return int(code), sentence

    def _check_report(self, data: bytes, recheck: bool) -> tuple[int, str]:
        """A validator's report of the L1: kept as long as it is the newest that waits."""
        reports = self._pools.l1_items
        if reports is None:
            return BatchCode.REFUSED, _told("l1_not_used", "this network has no L1")
        if recheck or reports.waits(data):
            return (
                (BatchCode.KEPT, "") if reports.waits(data) else (BatchCode.FINISHED, _told("l1_report_old", "decided"))
            )
        if self._budget.is_spent:
            return BatchCode.REFUSED, _told("batch_unread", "too much came that was refused; it is sent again")
        try:
            if reports.offer_report(data):
                return BatchCode.KEPT, ""
        except (ActionRefused, CodecError) as error:
            self._budget.spend(1)
            return BatchCode.REFUSED, _told(error.code, error.message)
        self._budget.spend(1)
        return BatchCode.KNOWN, _told("l1_report_old", "a newer report of this key is known")

    def _keep(self, batch_hash: Hash32) -> tuple[BatchCode, str]:
        if self._spread.is_kept(batch_hash):
            return BatchCode.KEPT, ""
        return BatchCode.FINISHED, _told("batch_finished", "nothing of the batch waits here any more")

    async def _check_new(self, data: bytes) -> tuple[BatchCode, str]:
        try:
            if len(data) > BATCH_BYTES_MAX:
                raise CodecError(f"a batch has at most {BATCH_BYTES_MAX} bytes", code="batch_too_large")
            batch_hash = batch_hash_of(data)
            if self._spread.holds(batch_hash):
                return self._keep(batch_hash)
            batch = decode_batch(data)
        except CodecError as error:
            return BatchCode.MALFORMED, f"{error.code}: {error.message}"
        found = _Found(0 if self._budget.is_spent else SPREAD_PROBE_ENTRIES)
        try:
            whole = await self._take(batch, found)
        except PlaitError as error:  # a rollup that left while its transactions were decoded
            found.refuse(error)
            whole = False
        self._budget.spend(found.refused)
        self.entries_brought += len(found.brought)
        self.entries_known += len(found.waiting)
        self.entries_refused += found.refused
        if whole and (found.brought or any(self._spread.is_overdue(key) for key in found.waiting)):
            if self._spread.held.has_room(len(data), batch.entries):
                self._spread.take_in(batch_hash, [key for key, _ in found.brought] + found.waiting, len(data))
                return BatchCode.KEPT, ""
            self._send_ourselves(found)
            text = "its entries were taken; they go on in this node's own batches"
            return BatchCode.REFUSED, _told("batch_pool_full", text)
        self._send_ourselves(found)
        if found.reason is not None:
            return BatchCode.REFUSED, f"{found.reason.code}: {found.reason.message}"
        return BatchCode.KNOWN, _told("batch_known", "nothing of the batch is new here")

    def _send_ourselves(self, found: _Found) -> None:
        for key, size in found.brought:
            if key.kind is not EntryKind.CANCELLATION:
                self._spread.collect(key, size)
        for entry in found.cancellations:
            self._spread.collect_cancellation(entry)

    async def _take(self, batch: Batch, found: _Found) -> bool:
        """Takes the entries in; False when the rest of a poor batch was left."""
        for part in self._parts(self._new_transactions(batch, found), _PART_MAX):
            await self._take_transactions(part, found)
            if found.is_poor:
                return False
        for bundles in self._parts(self._new(((self._bundle_key(e), e) for e in batch.bundles), found)):
            await self._take_bundles(bundles, found)
            if found.is_poor:
                return False
        for cancellation in batch.cancellations:
            self._take_cancellation(cancellation, found)
            if found.is_poor:
                return False
        keyed = ((Key(EntryKind.ACTION, NO_ROLLUP, sha256(raw).digest()), raw) for raw in batch.actions)
        for actions in self._parts(self._new(keyed, found)):
            self._take_actions(actions, found)
            if found.is_poor:
                return False
            await asyncio.sleep(0)
        return not found.is_poor

    def _parts(self, entries: Sequence[_T], size_max: int = _PART_RECOVERED_MAX) -> Iterable[Sequence[_T]]:
        """The entries in parts of 4, 16, 64, ...; of 1, 4, 16, ... when too much was wasted lately."""
        size, start = 1 if self._budget.is_spent else SPREAD_PROBE_ENTRIES, 0
        while start < len(entries):
            yield entries[start : start + size]
            start += size
            size = min(4 * size, size_max)

    def _new(self, keyed: Iterable[tuple[Key, _T]], found: _Found) -> list[tuple[Key, _T]]:
        """Those that neither wait nor have ended here, each once."""
        new: dict[Key, _T] = {}
        for key, entry in keyed:
            if self._contents.waits(key):
                found.waiting.append(key)
            elif not self._contents.has_ended(key):
                new[key] = entry
        return list(new.items())

    # ------------------------------------------------------------ transactions
    def _new_transactions(self, batch: Batch, found: _Found) -> list[tuple[Key, bytes]]:
        new: list[tuple[Key, bytes]] = []
        for rollup_id, raws in batch.transactions:
            if rollup_id not in self._pools.transactions.lanes:
                text = f"rollup {rollup_id} is not one of this network"
                found.refuse(TransactionRefused(text, code="rollup_unknown", rollup_id=rollup_id))
                continue
            hashes = keccak256_many(raws)
            keyed = ((Key(EntryKind.TRANSACTION, rollup_id, h), raw) for h, raw in zip(hashes, raws, strict=True))
            new.extend(self._new(keyed, found))
        return new

    async def _take_transactions(self, part: Sequence[tuple[Key, bytes]], found: _Found) -> None:
        pool = self._pools.transactions
        groups: dict[RollupId, tuple[list[Key], list[bytes]]] = {}
        for key, raw in part:
            keys, raws = groups.setdefault(key.rollup_id, ([], []))
            keys.append(key)
            raws.append(raw)

        def decode() -> list[list[Transaction | Refusal]]:
            return [pool.decode(rollup_id, raws) for rollup_id, (_, raws) in groups.items()]

        inline = len(part) <= SPREAD_DECODE_INLINE_MAX
        decoded = decode() if inline else await asyncio.to_thread(decode)
        for (rollup_id, (keys, raws)), transactions in zip(groups.items(), decoded, strict=True):
            self.is_taking = True
            try:
                results = pool.admit(rollup_id, transactions, self._now_ms())
            finally:
                self.is_taking = False
            for key, raw, result in zip(keys, raws, results, strict=True):
                if isinstance(result, Admitted):
                    found.brought.append((key, len(raw)))
                elif result.code == "already_known":
                    found.waiting.append(key)
                else:
                    found.refuse(result)

    # ------------------------------------------------------------ bundles
    @staticmethod
    def _bundle_key(entry: BundleEntry) -> Key:
        return Key(EntryKind.BUNDLE, NO_ROLLUP, entry.hash)

    async def _take_bundles(self, part: Sequence[tuple[Key, BundleEntry]], found: _Found) -> None:
        pool = self._pools.bundles
        bundles = [entry.bundle for _, entry in part]
        count = sum(len(leg.transactions) for bundle in bundles for leg in bundle.legs)
        if count <= SPREAD_DECODE_INLINE_MAX:
            decoded = pool.decode_many(bundles)
        else:
            decoded = await asyncio.to_thread(pool.decode_many, bundles)
        for (key, entry), one in zip(part, decoded, strict=True):
            try:
                if isinstance(one, BundleRefused):
                    raise one
                self._admit_bundle(entry, one)
            except BundleRefused as refused:
                if refused.code == "bundle_already_known":
                    found.waiting.append(key)
                else:
                    found.refuse(refused)
                continue
            found.brought.append((key, sum(map(len, one.leg_bytes)) + len(one.terms_bytes)))
            signature = self._early.pop(entry.hash, None)
            if signature is not None:
                self._take_cancellation(Cancellation(bundle_hash=entry.hash, signature=signature), found)

    def _admit_bundle(self, entry: BundleEntry, decoded: DecodedBundle) -> None:
        replaces = entry.replaces
        if replaces is not None and self._contents.has_ended(Key(EntryKind.BUNDLE, NO_ROLLUP, replaces)):
            status = self._pools.bundles.status(replaces)
            if status is None or status.status != "dropped":
                raise BundleRefused("the bundle that it replaces took place", code="bundle_unknown")
        label: Label | None = None
        if entry.request is not None:
            leg = entry.bundle.legs[0]
            if len(entry.bundle.legs) > 1 or replaces is not None or entry.signature is not None:
                raise BundleRefused(
                    "a label is for a bundle of one rollup, and its only right", code="request_mismatch"
                )
            label = label_of(entry.request, leg.rollup_id, leg.transactions)
            self._requests.require_first(entry.request, leg.transactions, entry.hash)
        self.is_taking = True
        try:
            self._pools.bundles.admit(
                decoded,
                self._now_ms(),
                self._slot(),
                signature=entry.signature,
                replaces=replaces,
                label=label,
                request=entry.request,
                relayed=True,
            )
        finally:
            self.is_taking = False

    def _take_cancellation(self, entry: Cancellation | LabelCancellation, found: _Found) -> None:
        if isinstance(entry, LabelCancellation):
            self._take_label_cancellation(entry, found)
            return
        pool = self._pools.bundles
        if not pool.waits(entry.bundle_hash):
            if pool.status(entry.bundle_hash) is None:
                self._early.pop(entry.bundle_hash, None)
                self._early[entry.bundle_hash] = entry.signature
                if len(self._early) > SPREAD_CANCELS_EARLY_MAX:
                    del self._early[next(iter(self._early))]
            return
        self._cancel(entry, found, lambda: pool.cancel(entry.bundle_hash, entry.signature))

    def _take_label_cancellation(self, entry: LabelCancellation, found: _Found) -> None:
        def cancel() -> None:
            label = label_of(entry.request, entry.rollup_id, None)
            self._pools.bundles.cancel_labelled(label, entry.request)

        self._cancel(entry, found, cancel)

    def _cancel(self, entry: Cancellation | LabelCancellation, found: _Found, cancel: Callable[[], object]) -> None:
        self.is_taking = True
        try:
            cancel()
        except BundleRefused as refused:
            found.refuse(refused)
            return
        finally:
            self.is_taking = False
        found.brought.append((key_of_cancellation(entry), 0))
        found.cancellations.append(entry)

    # ------------------------------------------------------------ actions
    def _take_actions(self, part: Sequence[tuple[Key, bytes]], found: _Found) -> None:
        pool = self._pools.actions
        if pool is None:
            found.refuse(ActionRefused("this network has no ledger of accounts", code="action_not_applicable"))
            return
        self.is_taking = True
        try:
            results = pool.admit([raw for _, raw in part], self._now_ms())
        finally:
            self.is_taking = False
        for (key, raw), result in zip(part, results, strict=True):
            if not isinstance(result, ActionRefused):
                found.brought.append((key, len(raw)))
            elif result.code == "action_already_known":
                found.waiting.append(key)
            else:
                found.refuse(result)

    def statistics(self) -> dict[str, int]:
        """Counters for metrics."""
        return {
            **{f"checked_{code.name.lower()}": count for code, count in self.verdicts.items()},
            "rechecked": self.rechecks,
            "entries_brought": self.entries_brought,
            "entries_known": self.entries_known,
            "entries_refused": self.entries_refused,
        }


def _told(code: str, sentence: str) -> str:
    return f"{code}: {sentence}"
