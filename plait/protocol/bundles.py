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
from itertools import takewhile
from typing import NamedTuple

from plait.errors import ProposalRefused
from plait.execution.bundles import (
    BundleCandidate,
    DecodedBundle,
    Deliver,
    Deliveries,
    Failure,
    Marks,
    Trial,
    Wanted,
    no_deliveries,
    try_bundle,
)
from plait.execution.candidate import Candidate
from plait.execution.messages import InteropSets, Ran
from plait.execution.together import TOGETHER_MAX, Pace, Together, is_ordinary, run_together
from plait.interop.relays import Relay
from plait.limits import (
    BUNDLE_BYTES_MAX,
    BUNDLE_FAILED_GAS_PER_SLOT_MAX,
    BUNDLE_FAILED_GAS_PER_SUB_BLOCK_MAX,
    BUNDLES_PER_SUB_BLOCK_MAX,
    CONDITION_CALLS_PER_SUB_BLOCK_MAX,
    DELIVERIES_PER_BUNDLE_MAX,
    PROPOSAL_ITEMS_MAX,
)
from plait.native import NativeError, Transaction, merkle_root
from plait.native.unread import is_unread
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
from plait.types import BundleTerms, ConditionKind, Hash32, Milliseconds, RollupId, Slot

ENTRY_BYTES = 16
"""Upper bound of what an entry adds to the bytes of its terms, and a leg item's prefix to the bytes of its leg."""


def order_key(stamp_ms: Milliseconds, terms: BundleTerms, bundle_hash: Hash32) -> tuple[bool, int, int, bytes]:
    """What orders a bundle among those of its sub-block: strictly ascending."""
    return not terms.pins, 0 if terms.fee_bid is None else -terms.fee_bid.amount, stamp_ms, bundle_hash


def condition_calls(terms: BundleTerms) -> int:
    """How many calls a bundle's conditions make."""
    return sum(condition.kind is ConditionKind.CALL for condition in terms.conditions)


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
    delivered: set[Hash32]
    """Messages that they delivered, by a delivery or by a transaction of a leg."""

    @classmethod
    def empty(cls) -> "BundlesRun":
        """No bundles."""
        return cls([], [], {}, [], set())

    @property
    def root(self) -> Hash32:
        """RFC 6962 tree hash over the entries."""
        return Hash32(merkle_root(self.entries))

    @property
    def transactions(self) -> int:
        """Of all legs."""
        return sum(len(columns.transactions) for columns in self.legs.values())

    def add(self, stamp_ms: Milliseconds, bundle: DecodedBundle, trial: Trial | None) -> None:
        """Records a bundle that was applied; without a trial one of which every transaction succeeded, and no more."""
        self.entries.append(encode_entry(stamp_ms, bundle.terms_bytes))
        placed: list[tuple[RollupId, tuple[Hash32, ...]]] = []
        for place, (leg, transactions, leg_bytes) in enumerate(
            zip(bundle.terms.legs, bundle.legs, bundle.leg_bytes, strict=True)
        ):
            ran = None if trial is None else trial.outcomes[place]
            columns = self._columns(leg.rollup_id)
            columns.items.append(encode_leg_item(bundle.hash, leg_bytes))
            columns.transactions.extend(transactions)
            columns.statuses.extend(b"\x01" * len(transactions) if ran is None else ran.statuses)
            placed.append((leg.rollup_id, tuple([Hash32(transaction.hash) for transaction in transactions])))
        if trial is not None:
            self.delivered.update(trial.delivered)
        if trial is None or not (trial.deliveries or trial.sent):
            self.decided.append(BundleDecided(hash=bundle.hash, legs=tuple(placed), deliveries=()))
        else:
            self._add_messages(bundle, tuple(placed), trial)

    def _add_messages(
        self, bundle: DecodedBundle, placed: tuple[tuple[RollupId, tuple[Hash32, ...]], ...], trial: Trial
    ) -> None:
        for rollup_id in sorted(trial.deliveries):
            columns = self._columns(rollup_id)
            delivering = [one for part in trial.deliveries[rollup_id] for one in part.transactions]
            columns.items.append(encode_deliveries_item(bundle.hash, [one.raw for one in delivering]))
            columns.transactions.extend(delivering)
            columns.statuses.extend(b"\x01" * len(delivering))
        self.sent.extend(trial.sent)
        self.decided.append(
            BundleDecided(
                hash=bundle.hash,
                legs=placed,
                deliveries=tuple(
                    (rollup_id, tuple(Hash32(one.hash) for part in parts for one in part.transactions))
                    for rollup_id, parts in sorted(trial.deliveries.items())
                ),
            )
        )

    def _columns(self, rollup_id: RollupId) -> LegColumns:
        columns = self.legs.get(rollup_id)
        if columns is None:
            columns = self.legs[rollup_id] = LegColumns([], [], bytearray())
        return columns


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
    careful: bool = False
    """Whether to make sure after each bundle that the blocks can be sealed. Only where another node holds state."""


class BundlesBuilt(NamedTuple):
    """What building made of the offered bundles."""

    run: BundlesRun
    failed: list[BundleFailed]
    deferred: int
    bytes: int
    """Of the proposal that the bundles take, an upper bound."""


class _Offer(NamedTuple):
    """An offered bundle, where it stands, and what it may need at most."""

    stamp_ms: Milliseconds
    candidate: BundleCandidate
    bytes: int
    items: int
    blocks: tuple[tuple[RollupId, int, int], ...]
    """Per leg: rollup, gas and data (bytes, before the scalar)."""

    @property
    def bundle(self) -> DecodedBundle:
        """What is offered."""
        return self.candidate.bundle


class _Room:
    """What bundles may still take: of the proposal, and of each open block by gas limits and by data."""

    __slots__ = ("_blocks", "_candidate", "bundles", "bytes", "items")

    def __init__(self, candidate: Candidate, work: BundleWork) -> None:
        reserved = (0, 0) if work.deliver is no_deliveries else (BUNDLE_BYTES_MAX, DELIVERIES_PER_BUNDLE_MAX)
        self._candidate = candidate
        self.bytes = work.bytes_left - reserved[0]
        self.items = PROPOSAL_ITEMS_MAX - reserved[1]
        self.bundles = BUNDLES_PER_SUB_BLOCK_MAX
        self._blocks: dict[RollupId, tuple[int, int, int]] = {}

    def copy(self) -> "_Room":
        """The same room, to be taken apart."""
        other = object.__new__(_Room)
        other._candidate, other._blocks = self._candidate, dict(self._blocks)
        other.bytes, other.items, other.bundles = self.bytes, self.items, self.bundles
        return other

    def take(self, offer: _Offer) -> bool:
        """Takes what a bundle may need at most, so that no limit can split it; False where there is not so much."""
        if self.bundles < 1 or self.items < offer.items or self.bytes < offer.bytes:
            return False
        left: list[tuple[RollupId, tuple[int, int, int]]] = []
        for rollup_id, gas, data in offer.blocks:
            gas_left, footprint_left, scalar = self._blocks.get(rollup_id) or self._block(rollup_id)
            if gas_left < gas or footprint_left < data * scalar:
                return False
            left.append((rollup_id, (gas_left - gas, footprint_left - data * scalar, scalar)))
        self._blocks.update(left)
        self.note(offer, 0, 0)
        return True

    def note(self, offer: _Offer, delivery_items: int, delivery_bytes: int) -> None:
        """Gives the proposal's part to a bundle."""
        self.bundles -= 1
        self.items -= offer.items + delivery_items
        self.bytes -= offer.bytes + delivery_bytes

    def reread(self) -> None:
        """Forgets the blocks: they have changed."""
        self._blocks.clear()

    def _block(self, rollup_id: RollupId) -> tuple[int, int, int]:
        block = self._candidate.open_block(rollup_id)
        if block is None:
            return -1, -1, 0
        found = (block.gas_limit - block.gas_used, block.gas_limit - block.da_footprint, block.da_footprint_scalar)
        self._blocks[rollup_id] = found
        return found


class _Building:
    """Building bundles: what was decided of them so far."""

    def __init__(self, candidate: Candidate, position: Position, work: BundleWork) -> None:
        self._candidate = candidate
        self._slot = position.slot
        self._work = work
        self._charges: dict[bytes, int] = {}
        self._burnt_by: dict[bytes, int] = {}
        self._burnt = 0
        self._calls = 0
        self._seen: set[Hash32] = set()
        self.room = _Room(candidate, work)
        self.run = BundlesRun.empty()
        self.failed: list[BundleFailed] = []
        self.deferred = 0

    def together(self, offers: Sequence[_Offer]) -> Together:
        """Applies as many of the first offers as can be applied together; how many, and whether the next stood out."""
        room = self.room.copy()
        count = 0
        hashes: set[Hash32] = set()
        for offer in offers:
            bundle_hash = offer.bundle.hash
            ordinary = not offer.candidate.retried and is_ordinary(offer.bundle.terms) and bundle_hash not in hashes
            if not ordinary or self._waits(offer) or not room.take(offer):
                break
            hashes.add(bundle_hash)
            count += 1
        found = run_together(self._candidate, [offer.bundle for offer in offers[:count]], self._work.sets)
        applied = found.applied
        for offer in offers[:applied]:
            self._seen.add(offer.bundle.hash)
            self.run.add(offer.stamp_ms, offer.bundle, None)
            self.room.note(offer, 0, 0)
        if applied:
            self.room.reread()
        return found

    def one(self, offer: _Offer) -> bool:
        """Tries a bundle, or leaves it for later; whether it stood out: failed, or had to do with messages."""
        bundle = offer.bundle
        if self._waits(offer) or not self.room.copy().take(offer):
            self.deferred += 1
            return False
        self._seen.add(bundle.hash)
        self._calls += condition_calls(bundle.terms)
        marks = self._candidate.checkpoint() if self._work.careful else None
        try:
            trial = try_bundle(self._candidate, bundle, self._work.sets, self._work.deliver)
            if marks is not None:
                self._candidate.require_sealable(self._candidate.remote)
        except NativeError as error:
            if not is_unread(error):
                raise
            if marks is not None:
                self._candidate.rollback(marks)
            self._wait_for_state(bundle, error)
            return True
        if trial.failure is None:
            self.run.add(offer.stamp_ms, bundle, trial)
            self.room.note(offer, sum(map(len, trial.deliveries.values())), _delivery_bytes(trial))
            self.room.reread()
            return bool(trial.sent or trial.deliveries)
        charged = trial.gas_used > 0 or trial.failure.code == "bundle_condition_false"
        payer = offer.candidate.payer
        self._charges[payer] = self._charges.get(payer, 0) + charged
        self._burnt_by[payer] = self._burnt_by.get(payer, 0) + trial.gas_used
        self._burnt += trial.gas_used
        code, sentence, rollup_id, place, reason, output = trial.failure
        self.failed.append(
            BundleFailed(bundle.hash, code, sentence, rollup_id, place, reason, charged, output, trial.gas_used)
        )
        return True

    def _wait_for_state(self, bundle: DecodedBundle, error: NativeError) -> None:
        """Leaves a bundle out, whole, that lacks state; its payer is not charged."""
        rollup_id = min(self._candidate.remote & bundle.terms.rollup_ids, default=RollupId(0))
        self.failed.append(BundleFailed(bundle.hash, error.code, str(error), rollup_id, 0, error.code, charged=False))

    def _waits(self, offer: _Offer) -> bool:
        """Whether a bundle is not to be tried in this sub-block, whatever the room."""
        terms = offer.bundle.terms
        return (
            offer.bundle.hash in self._seen
            or not terms.not_before_slot <= self._slot <= terms.deadline_slot
            or self._charges.get(offer.candidate.payer, 0) >= offer.candidate.credit
            or self._burnt_by.get(offer.candidate.payer, 0) > BUNDLE_FAILED_GAS_PER_SLOT_MAX
            or self._burnt > BUNDLE_FAILED_GAS_PER_SUB_BLOCK_MAX
            or self._calls + condition_calls(terms) > CONDITION_CALLS_PER_SUB_BLOCK_MAX
        )


def build_bundles(candidate: Candidate, position: Position, work: BundleWork) -> BundlesBuilt:
    """Tries bundles in the order of the protocol; those that hold stay applied to the candidate.

    Args:
        candidate: advanced to the sub-block's slot.
        position: of the sub-block.
        work: what there is to try.

    Bundles for which state is missing are left out whole, and so are those after which sealing would lack some.
    """
    if not candidate.remote or not work.offered or not position.carries_items:
        return _build(candidate, position, work)
    marks = candidate.checkpoint()
    built = _build(candidate, position, work)
    try:
        candidate.require_sealable(built.run.legs)
    except NativeError as error:
        if not is_unread(error):
            raise
        candidate.rollback(marks)
        return _build(candidate, position, work._replace(careful=True))
    return built


def _build(candidate: Candidate, position: Position, work: BundleWork) -> BundlesBuilt:
    if not work.offered or not position.carries_items:
        return BundlesBuilt(BundlesRun.empty(), [], len(work.offered), 0)
    offers = [_offer(offered, work.time_ms) for offered in work.offered]
    offers.sort(key=lambda offer: order_key(offer.stamp_ms, offer.bundle.terms, offer.bundle.hash))
    building = _Building(candidate, position, work)
    bytes_before = building.room.bytes
    pace = Pace()
    place = 0
    while place < len(offers):
        ahead = offers[place : place + (1 if work.careful else pace.count)]
        applied, surprised = building.together(ahead) if len(ahead) > 1 else Together(0, stood_out=False)
        if not applied or surprised:
            surprised |= building.one(ahead[applied])
            applied += 1
        place += applied
        pace.note(applied, surprised=surprised)
    return BundlesBuilt(building.run, building.failed, building.deferred, bytes_before - building.room.bytes)


def _offer(candidate: BundleCandidate, time_ms: Milliseconds) -> _Offer:
    bundle = candidate.bundle
    size = sum(map(len, bundle.leg_bytes)) + len(bundle.terms_bytes)
    return _Offer(
        time_ms if candidate.retried else min(candidate.ready_ms, time_ms),
        candidate,
        size + (LEG_HEAD_BYTES + ENTRY_BYTES) * (1 + len(bundle.legs)),
        sum(map(len, bundle.legs)),
        tuple(
            [
                (
                    leg.rollup_id,
                    sum([one.gas_limit for one in transactions]),
                    sum([one.da_size for one in transactions]),
                )
                for leg, transactions in zip(bundle.terms.legs, bundle.legs, strict=True)
            ]
        ),
    )


def _delivery_bytes(trial: Trial) -> int:
    """Upper bound of what the deliveries of a bundle add to a proposal."""
    return sum(
        LEG_HEAD_BYTES + ENTRY_BYTES + sum(one.size + 4 for part in parts for one in part.transactions)
        for parts in trial.deliveries.values()
    )


# ---------------------------------------------------------------- checking
def root_of(entries: Iterable[BundleEntry]) -> Hash32:
    """The bundles root of a proposal's entries."""
    return Hash32(merkle_root([encode_entry(entry.stamp_ms, entry.terms_bytes) for entry in entries]))


def check_entries(entries: Sequence[BundleEntry], slot: Slot, time_ms: Milliseconds) -> None:
    """The rules of the bundles section that need no execution.

    Raises:
        ProposalRefused: `bundle_duplicate`, `bundle_order`, `bundle_stamp_in_future`, `bundle_outside_window`,
            `bundle_too_many_calls`.
    """
    calls = 0
    seen: set[Hash32] = set()
    before: tuple[bool, int, int, bytes] | None = None
    for place, entry in enumerate(entries):
        bundle_hash = entry.hash
        if bundle_hash in seen:
            raise _refused("bundle_duplicate", place, bundle_hash, "occurs twice")
        seen.add(bundle_hash)
        calls += condition_calls(entry.terms)
        if calls > CONDITION_CALLS_PER_SUB_BLOCK_MAX:
            problem = f"brings the calls of conditions above {CONDITION_CALLS_PER_SUB_BLOCK_MAX}"
            raise _refused("bundle_too_many_calls", place, bundle_hash, problem)
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
    pace = Pace(TOGETHER_MAX)  # whoever proposed them found that they hold
    place = 0
    while place < len(listed):
        ahead = [one.bundle for one in takewhile(_is_ordinary, listed[place : place + pace.count])]
        applied, surprised = run_together(candidate, ahead, sets) if len(ahead) > 1 else Together(0, stood_out=False)
        for entry, bundle in zip(entries[place : place + applied], ahead, strict=False):
            run.add(entry.stamp_ms, bundle, None)
        place += applied
        if applied and not surprised:
            pace.note(applied, surprised=False)
            continue
        entry, one = entries[place], listed[place]
        trial = try_bundle(candidate, one.bundle, sets, _given(one.deliveries))
        if trial.failure is not None:
            raise _failed(place, one.bundle.hash, trial.failure)
        if len(trial.deliveries) != len(one.deliveries):  # nothing in the bundle had to do with messages
            raise _refused(
                "bundle_delivery_failed", place, one.bundle.hash, "has deliveries that deliver nothing of it"
            )
        run.add(entry.stamp_ms, one.bundle, trial)
        place += 1
        pace.note(applied + 1, surprised=surprised or bool(trial.sent))
    return run


def _is_ordinary(listed: ListedBundle) -> bool:
    return not listed.deliveries and is_ordinary(listed.bundle.terms)


def _given(deliveries: Mapping[RollupId, tuple[Transaction, ...]]) -> Deliver:
    """The deliveries that a proposal lists. What they come to is judged with the bundle."""

    def deliver(candidate: Candidate, marks: Marks, wanted: Wanted) -> Deliveries:
        del wanted
        found: dict[RollupId, list[Ran]] = {}
        for rollup_id, transactions in sorted(deliveries.items()):
            session = candidate.session(rollup_id)
            if rollup_id not in marks:
                marks[rollup_id] = session.checkpoint()
            found[rollup_id] = [Ran(transactions, session.run(transactions, on_invalid="stop"))]
        return Deliveries(found, None, sum(parts[0].outcomes.gas_used for parts in found.values()))

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
