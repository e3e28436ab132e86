"""Bundles of a sub-block: which are tried, how they stand in a proposal, and when they are refused.

A sub-block runs its bundles first, one after the other in the order of the bundles section, before any plain
transaction of any rollup. The order is strictly ascending by (stamp, bundle hash), where the stamp is when the bundle
arrived at the proposer, or the sub-block's own time for one that failed before; so for a given set of bundles and
stamps one order is valid. A bundle runs as `plait.execution.bundles` says: all of it is applied, or the proposal is
refused (checking) and the bundle left out (building).

What building leaves untried is deferred whole: a bundle whose transactions may not fit a block is never split.

Level 4, pure but for the native sessions it drives.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from plait.codec.bundle import decode_leg
from plait.errors import CodecError, ProposalRefused
from plait.execution.bundles import BundleCandidate, DecodedBundle, Failure, Trial, try_bundle
from plait.execution.candidate import Candidate
from plait.limits import BUNDLE_FAILED_GAS_PER_SUB_BLOCK_MAX, BUNDLES_PER_SUB_BLOCK_MAX, PROPOSAL_ITEMS_MAX
from plait.native import Transaction, merkle_root
from plait.protocol.effects import BundleDecided
from plait.protocol.grid import Position
from plait.protocol.proposal import (
    LEG_HEAD_BYTES,
    LEG_KIND,
    BundleEntry,
    Proposal,
    encode_entry,
    encode_leg_item,
)
from plait.protocol.requests import BundleFailed
from plait.types import Hash32, Milliseconds, RollupId, Slot

ENTRY_BYTES = 16
"""Upper bound of what an entry adds to the bytes of its terms, and a leg item's prefix to the bytes of its leg."""


class LegColumns(NamedTuple):
    """What the bundles of a sub-block ran on one rollup, in order."""

    items: list[bytes]
    transactions: list[Transaction]
    statuses: bytearray


class BundlesRun(NamedTuple):
    """The bundles that took place."""

    entries: list[bytes]
    decided: list[BundleDecided]
    legs: dict[RollupId, LegColumns]

    @classmethod
    def empty(cls) -> "BundlesRun":
        """No bundles."""
        return cls([], [], {})

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
            columns = self.legs.setdefault(leg.rollup_id, LegColumns([], [], bytearray()))
            columns.items.append(encode_leg_item(bundle.hash, leg_bytes))
            columns.transactions.extend(transactions)
            columns.statuses.extend(ran.statuses if ran is not None else b"")
            placed.append((leg.rollup_id, tuple(Hash32(transaction.hash) for transaction in transactions)))
        self.decided.append(BundleDecided(hash=bundle.hash, legs=tuple(placed)))


# ---------------------------------------------------------------- building
class BundlesBuilt(NamedTuple):
    """What building made of the offered bundles."""

    run: BundlesRun
    failed: list[BundleFailed]
    deferred: int
    bytes: int
    """Of the proposal that the bundles take, an upper bound."""


def build_bundles(
    candidate: Candidate,
    position: Position,
    offered: Sequence[BundleCandidate],
    time_ms: Milliseconds,
    bytes_left: int,
) -> BundlesBuilt:
    """Tries bundles in the order of the protocol; those that hold stay applied to the candidate.

    Args:
        candidate: advanced to the sub-block's slot.
        position: of the sub-block.
        offered: the pool's bundles.
        time_ms: of the sub-block.
        bytes_left: that bundles may take of the proposal.
    """
    run = BundlesRun.empty()
    if not offered or not position.carries_items:
        return BundlesBuilt(run, [], len(offered), 0)
    ordered = sorted(
        ((time_ms if offer.retried else min(offer.ready_ms, time_ms), offer.bundle.hash, offer) for offer in offered),
        key=lambda entry: entry[:2],
    )
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
            or transactions + count > PROPOSAL_ITEMS_MAX
            or size + taken > bytes_left
            or not _fits(candidate, bundle)
        ):
            deferred += 1
            continue
        seen.add(bundle_hash)
        trial = try_bundle(candidate, bundle)
        if trial.failure is None:
            run.add(stamp_ms, bundle, trial)
            size += taken
            transactions += count
            continue
        charged = trial.gas_used > 0 or trial.failure.code == "bundle_condition_false"
        charges[offer.payer] = charges.get(offer.payer, 0) + charged
        burnt += trial.gas_used
        failed.append(BundleFailed(bundle_hash, *trial.failure, charged))
    return BundlesBuilt(run, failed, deferred, size)


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
    before: tuple[int, bytes] = (-1, b"")
    for place, entry in enumerate(entries):
        bundle_hash = entry.hash
        if bundle_hash in seen:
            raise _refused("bundle_duplicate", place, bundle_hash, "occurs twice")
        seen.add(bundle_hash)
        if (entry.stamp_ms, bundle_hash) <= before:
            raise _refused("bundle_order", place, bundle_hash, "does not stand in the order of stamps and hashes")
        before = (entry.stamp_ms, bundle_hash)
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


class SplitBlocks(NamedTuple):
    """A proposal's items, legs and plain ones apart."""

    legs: dict[RollupId, list[list[bytes]]]
    """Per rollup the raw transactions of its legs, in the order of the bundles."""
    leg_bytes: list[tuple[bytes, ...]]
    """Per bundle the bytes of its legs."""
    plain: dict[RollupId, list[bytes]]
    """Per rollup the items after its legs; every rollup of the proposal is there."""


def split_legs(proposal: Proposal) -> SplitBlocks:
    """Takes the legs that the bundles section names from the heads of the blocks.

    Raises:
        CodecError: `codec_invalid`, `bundle_leg_empty` (a leg's bytes), `codec_too_many`.
        ProposalRefused: `bundle_leg_missing`, `bundle_leg_mismatch`, `bundle_allowed_revert_unknown`.
    """
    items = dict(proposal.blocks)
    taken: dict[RollupId, int] = {}
    legs: dict[RollupId, list[list[bytes]]] = {}
    leg_bytes: list[tuple[bytes, ...]] = []
    transactions = 0
    for place, entry in enumerate(proposal.bundles):
        bundle_hash = entry.hash
        found: list[bytes] = []
        for leg in entry.terms.legs:
            index = taken.get(leg.rollup_id, 0)
            listed = items.get(leg.rollup_id, [])
            if index >= len(listed) or listed[index][:1] != LEG_KIND:
                raise _refused("bundle_leg_missing", place, bundle_hash, f"has no leg on rollup {leg.rollup_id}")
            item = listed[index]
            data = item[LEG_HEAD_BYTES:]
            if item[1:LEG_HEAD_BYTES] != bundle_hash or sha256(data).digest() != leg.leg_hash:
                raise _refused(
                    "bundle_leg_mismatch",
                    place,
                    bundle_hash,
                    f"has another leg on rollup {leg.rollup_id} than its terms name",
                )
            raws = decode_leg(data)
            if leg.allowed_reverts and leg.allowed_reverts[-1] >= len(raws):
                raise _refused(
                    "bundle_allowed_revert_unknown", place, bundle_hash, "allows a revert of no transaction of its leg"
                )
            taken[leg.rollup_id] = index + 1
            legs.setdefault(leg.rollup_id, []).append(raws)
            found.append(data)
            transactions += len(raws) - 1
        leg_bytes.append(tuple(found))
    if transactions + sum(len(listed) for listed in items.values()) > PROPOSAL_ITEMS_MAX:
        raise CodecError(f"more than {PROPOSAL_ITEMS_MAX} transactions", code="codec_too_many")
    plain = {rollup_id: listed[taken.get(rollup_id, 0) :] for rollup_id, listed in items.items()}
    return SplitBlocks(legs, leg_bytes, plain)


def run_bundles(
    candidate: Candidate,
    entries: Sequence[BundleEntry],
    leg_bytes: Sequence[tuple[bytes, ...]],
    legs: Mapping[RollupId, Sequence[tuple[Transaction, ...]]],
) -> BundlesRun:
    """Executes the bundles of a proposal.

    Args:
        candidate: advanced; every rollup with a leg has an open block.
        entries: in order, checked by `check_entries`.
        leg_bytes: per entry, as `split_legs` gives them.
        legs: per rollup the decoded legs, in the order of the entries.

    Raises:
        ProposalRefused: `bundle_condition_false`, `bundle_leg_failed`.
    """
    run = BundlesRun.empty()
    remaining = {rollup_id: iter(decoded) for rollup_id, decoded in legs.items()}
    for place, (entry, data) in enumerate(zip(entries, leg_bytes, strict=True)):
        bundle = DecodedBundle(
            entry.hash,
            entry.terms,
            entry.terms_bytes,
            tuple(next(remaining[leg.rollup_id]) for leg in entry.terms.legs),
            data,
        )
        trial = try_bundle(candidate, bundle)
        if trial.failure is not None:
            raise _failed(place, bundle.hash, trial.failure)
        run.add(entry.stamp_ms, bundle, trial)
    return run


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
