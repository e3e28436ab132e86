"""Bundles of a sub-block: which are tried, how they stand in a proposal, and when they are refused.

A sub-block runs its bundles first, one after the other in the order of the bundles section, before any plain
transaction of any rollup. The order is strictly ascending by (not pinned, minus the fee bid, stamp, bundle hash):
pinned bundles first, then by what they pay. The stamp is when the bundle arrived at the proposer, or the sub-block's
own time for one that failed before; so for a given set of bundles and stamps one order is valid. A bundle runs as
`plait.execution.bundles` says: all of it is applied, or the proposal is refused (checking) and the bundle left out
(building).

What building leaves untried is deferred whole: a bundle whose transactions may not fit a block is never split.

Level 4, pure but for the native sessions it drives.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from plait.errors import ProposalRefused
from plait.execution.bundles import (
    BundleCandidate,
    DecodedBundle,
    Deliver,
    Failure,
    Marks,
    Trial,
    Wanted,
    no_deliveries,
    try_bundle,
)
from plait.execution.candidate import Candidate
from plait.execution.messages import InteropSets, Ran, delivered_by
from plait.interop.relays import Relay
from plait.limits import (
    BUNDLE_BYTES_MAX,
    BUNDLE_FAILED_GAS_PER_SUB_BLOCK_MAX,
    BUNDLES_PER_SUB_BLOCK_MAX,
    DELIVERIES_PER_BUNDLE_MAX,
    PROPOSAL_ITEMS_MAX,
)
from plait.native import Transaction, merkle_root
from plait.protocol.effects import BundleDecided
from plait.protocol.grid import Position
from plait.protocol.proposal import (
    LEG_HEAD_BYTES,
    BundleEntry,
    encode_deliveries_item,
    encode_entry,
    encode_leg_item,
)
from plait.protocol.requests import BundleFailed
from plait.types import BundleTerms, Hash32, Milliseconds, RollupId, Slot

ENTRY_BYTES = 16
"""Upper bound of what an entry adds to the bytes of its terms, and a leg item's prefix to the bytes of its leg."""


def order_key(stamp_ms: Milliseconds, terms: BundleTerms, bundle_hash: Hash32) -> tuple[bool, int, int, bytes]:
    """What orders a bundle among those of its sub-block: strictly ascending."""
    return not terms.pins, 0 if terms.fee_bid is None else -terms.fee_bid.amount, stamp_ms, bundle_hash


class LegColumns(NamedTuple):
    """What the bundles of a sub-block ran on one rollup, in order, deliveries included."""

    items: list[bytes]
    transactions: list[Transaction]
    statuses: bytearray


class BundlesRun(NamedTuple):
    """The bundles that took place."""

    entries: list[bytes]
    decided: list[BundleDecided]
    legs: dict[RollupId, LegColumns]
    sent: list[Relay]
    """Messages that they sent."""
    delivered: dict[Hash32, Ran]
    """By hash, the messages that they delivered, and the transactions that did."""

    @classmethod
    def empty(cls) -> "BundlesRun":
        """No bundles."""
        return cls([], [], {}, [], {})

    @property
    def root(self) -> Hash32 | None:
        """RFC 6962 tree hash over the entries; None without bundles."""
        return Hash32(merkle_root(self.entries)) if self.entries else None

    @property
    def transactions(self) -> int:
        """Of all legs."""
        return sum(len(columns.transactions) for columns in self.legs.values())

    def add(self, stamp_ms: Milliseconds, bundle: DecodedBundle, trial: Trial) -> None:
        """Records a bundle that was applied."""
        self.entries.append(encode_entry(stamp_ms, bundle.terms_bytes))
        placed: list[tuple[RollupId, tuple[Hash32, ...]]] = []
        for leg, transactions, leg_bytes, ran in zip(
            bundle.terms.legs, bundle.legs, bundle.leg_bytes, trial.outcomes, strict=True
        ):
            columns = self._columns(leg.rollup_id)
            columns.items.append(encode_leg_item(bundle.hash, leg_bytes))
            columns.transactions.extend(transactions)
            columns.statuses.extend(ran.statuses if ran is not None else b"")
            placed.append((leg.rollup_id, tuple(Hash32(transaction.hash) for transaction in transactions)))
        for rollup_id in sorted(trial.deliveries):
            columns = self._columns(rollup_id)
            delivering = [one for part in trial.deliveries[rollup_id] for one in part.transactions]
            columns.items.append(encode_deliveries_item(bundle.hash, [one.raw for one in delivering]))
            columns.transactions.extend(delivering)
            columns.statuses.extend(b"\x01" * len(delivering))
            for part in trial.deliveries[rollup_id]:
                self.delivered.update((message_hash, part) for _, message_hash in delivered_by(part))
        self.sent.extend(trial.sent)
        self.decided.append(
            BundleDecided(
                hash=bundle.hash,
                legs=tuple(placed),
                deliveries=tuple(
                    (rollup_id, tuple(Hash32(one.hash) for part in parts for one in part.transactions))
                    for rollup_id, parts in sorted(trial.deliveries.items())
                ),
            )
        )

    def _columns(self, rollup_id: RollupId) -> LegColumns:
        return self.legs.setdefault(rollup_id, LegColumns([], [], bytearray()))


# ---------------------------------------------------------------- building
class BundleWork(NamedTuple):
    """What there is to build bundles from."""

    offered: Sequence[BundleCandidate]
    time_ms: Milliseconds
    """Of the sub-block."""
    bytes_left: int
    """That bundles may take of the proposal."""
    sets: InteropSets
    """Of the registry."""
    deliver: Deliver = no_deliveries
    """Who delivers what bundles need delivered."""


class BundlesBuilt(NamedTuple):
    """What building made of the offered bundles."""

    run: BundlesRun
    failed: list[BundleFailed]
    deferred: int
    bytes: int
    """Of the proposal that the bundles take, an upper bound."""


def build_bundles(candidate: Candidate, position: Position, work: BundleWork) -> BundlesBuilt:
    """Tries bundles in the order of the protocol; those that hold stay applied to the candidate.

    Args:
        candidate: advanced to the sub-block's slot.
        position: of the sub-block.
        work: what there is to try.
    """
    run = BundlesRun.empty()
    offered, time_ms, bytes_left, sets, deliver = work
    if not offered or not position.carries_items:
        return BundlesBuilt(run, [], len(offered), 0)
    ordered = sorted(
        ((time_ms if offer.retried else min(offer.ready_ms, time_ms), offer.bundle.hash, offer) for offer in offered),
        key=lambda entry: order_key(entry[0], entry[2].bundle.terms, entry[1]),
    )
    room = (0, 0) if deliver is no_deliveries else (BUNDLE_BYTES_MAX, DELIVERIES_PER_BUNDLE_MAX)
    failed: list[BundleFailed] = []
    charges: dict[bytes, int] = {}
    seen: set[Hash32] = set()
    deferred = burnt = size = transactions = 0
    for stamp_ms, bundle_hash, offer in ordered:
        bundle = offer.bundle
        taken = sum(map(len, bundle.leg_bytes)) + len(bundle.terms_bytes)
        taken += (LEG_HEAD_BYTES + ENTRY_BYTES) * (1 + len(bundle.legs))
        count = sum(map(len, bundle.legs))
        if (
            bundle_hash in seen
            or not bundle.terms.not_before_slot <= position.slot <= bundle.terms.deadline_slot
            or charges.get(offer.payer, 0) >= offer.credit
            or burnt > BUNDLE_FAILED_GAS_PER_SUB_BLOCK_MAX
            or len(run.entries) == BUNDLES_PER_SUB_BLOCK_MAX
            or transactions + count + room[1] > PROPOSAL_ITEMS_MAX
            or size + taken + room[0] > bytes_left
            or not _fits(candidate, bundle)
        ):
            deferred += 1
            continue
        seen.add(bundle_hash)
        trial = try_bundle(candidate, bundle, sets, deliver)
        if trial.failure is None:
            run.add(stamp_ms, bundle, trial)
            size += taken + _delivery_bytes(trial)
            transactions += count + sum(map(len, trial.deliveries.values()))
            continue
        charged = trial.gas_used > 0 or trial.failure.code == "bundle_condition_false"
        charges[offer.payer] = charges.get(offer.payer, 0) + charged
        burnt += trial.gas_used
        failed.append(BundleFailed(bundle_hash, *trial.failure, charged))
    return BundlesBuilt(run, failed, deferred, size)


def _delivery_bytes(trial: Trial) -> int:
    """Upper bound of what the deliveries of a bundle add to a proposal."""
    return sum(
        LEG_HEAD_BYTES + ENTRY_BYTES + sum(one.size + 4 for part in parts for one in part.transactions)
        for parts in trial.deliveries.values()
    )


def _fits(candidate: Candidate, bundle: DecodedBundle) -> bool:
    """Whether every leg fits what is left of its block by its gas limits and its data: then no block limit can split
    it."""
    for leg, transactions in zip(bundle.terms.legs, bundle.legs, strict=True):
        block = candidate.open_block(leg.rollup_id)
        if block is None:
            return False
        gas = sum(transaction.gas_limit for transaction in transactions)
        footprint = sum(transaction.da_size for transaction in transactions) * block.da_footprint_scalar
        if block.gas_used + gas > block.gas_limit or block.da_footprint + footprint > block.gas_limit:
            return False
    return True


# ---------------------------------------------------------------- checking
def root_of(entries: Iterable[BundleEntry]) -> Hash32:
    """The bundles root of a proposal's entries."""
    return Hash32(merkle_root([encode_entry(entry.stamp_ms, entry.terms_bytes) for entry in entries]))


def check_entries(entries: Sequence[BundleEntry], slot: Slot, time_ms: Milliseconds) -> None:
    """The rules of the bundles section that need no execution.

    Raises:
        ProposalRefused: `bundle_duplicate`, `bundle_order`, `bundle_stamp_in_future`, `bundle_outside_window`.
    """
    seen: set[Hash32] = set()
    before: tuple[bool, int, int, bytes] | None = None
    for place, entry in enumerate(entries):
        bundle_hash = entry.hash
        if bundle_hash in seen:
            raise _refused("bundle_duplicate", place, bundle_hash, "occurs twice")
        seen.add(bundle_hash)
        key = order_key(entry.stamp_ms, entry.terms, bundle_hash)
        if before is not None and key <= before:
            problem = "does not stand in the order of pins, fee bids, stamps and hashes"
            raise _refused("bundle_order", place, bundle_hash, problem)
        before = key
        if entry.stamp_ms > time_ms:
            raise _refused(
                "bundle_stamp_in_future", place, bundle_hash, f"has a stamp after the sub-block's time of {time_ms} ms"
            )
        terms = entry.terms
        if not terms.not_before_slot <= slot <= terms.deadline_slot:
            raise _refused(
                "bundle_outside_window",
                place,
                bundle_hash,
                f"may take place in slots {terms.not_before_slot} to {terms.deadline_slot}, not in {slot}",
            )


class ListedBundle(NamedTuple):
    """A bundle of a proposal, decoded."""

    bundle: DecodedBundle
    deliveries: Mapping[RollupId, tuple[Transaction, ...]]


def run_bundles(
    candidate: Candidate, entries: Sequence[BundleEntry], listed: Sequence[ListedBundle], sets: InteropSets
) -> BundlesRun:
    """Executes the bundles of a proposal.

    Args:
        candidate: advanced; every rollup with items has an open block.
        entries: in order, checked by `check_entries`.
        listed: parallel to them.
        sets: of the registry.

    Raises:
        ProposalRefused: `bundle_pin_missed`, `bundle_condition_false`, `bundle_leg_failed`, `bundle_delivery_failed`,
            `bundle_message_invalid`, `bundle_bid_unpaid`.
    """
    run = BundlesRun.empty()
    for place, (entry, one) in enumerate(zip(entries, listed, strict=True)):
        trial = try_bundle(candidate, one.bundle, sets, _given(one.deliveries))
        if trial.failure is not None:
            raise _failed(place, one.bundle.hash, trial.failure)
        if len(trial.deliveries) != len(one.deliveries):  # nothing in the bundle had to do with messages
            raise _refused(
                "bundle_delivery_failed", place, one.bundle.hash, "has deliveries that deliver nothing of it"
            )
        run.add(entry.stamp_ms, one.bundle, trial)
    return run


def _given(deliveries: Mapping[RollupId, tuple[Transaction, ...]]) -> Deliver:
    """The deliveries that a proposal lists. What they come to is judged with the bundle."""

    def deliver(candidate: Candidate, marks: Marks, wanted: Wanted) -> Mapping[RollupId, Sequence[Ran]]:
        del wanted
        found: dict[RollupId, list[Ran]] = {}
        for rollup_id, transactions in sorted(deliveries.items()):
            session = candidate.session(rollup_id)
            if rollup_id not in marks:
                marks[rollup_id] = session.checkpoint()
            found[rollup_id] = [Ran(transactions, session.run(transactions, on_invalid="stop"))]
        return found

    return deliver


def _failed(place: int, bundle_hash: Hash32, failure: Failure) -> ProposalRefused:
    return ProposalRefused(
        f"bundle {place} (0x{bundle_hash.hex()}) does not hold: {failure.sentence}",
        code=failure.code,
        bundle=place,
        rollup_id=failure.rollup_id,
        index=failure.place,
        reason=failure.reason,
    )


def _refused(code: str, place: int, bundle_hash: Hash32, problem: str) -> ProposalRefused:
    return ProposalRefused(f"bundle {place} (0x{bundle_hash.hex()}) {problem}", code=code, bundle=place)
