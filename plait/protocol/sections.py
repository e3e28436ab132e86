"""A proposal's items taken apart: what belongs to its bundles, plain transactions, relays.

Level 4, pure. Nothing is decoded but lists; what the parts mean is checked where they are run.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from plait.codec.bundle import decode_leg
from plait.errors import CodecError, ProposalRefused
from plait.limits import DELIVERIES_PER_BUNDLE_MAX, PROPOSAL_ITEMS_MAX
from plait.protocol.proposal import (
    DELIVERIES_KIND,
    LEG_HEAD_BYTES,
    LEG_KIND,
    BundleEntry,
    Proposal,
    bundled_count,
    relays_count,
)
from plait.types import Hash32, LegTerms, RollupId


class Bundled(NamedTuple):
    """One item of a bundle on a rollup."""

    place: int
    """Of the bundle in its section."""
    is_leg: bool
    """Otherwise deliveries."""
    raws: list[bytes]
    data: bytes
    """The item without its head."""


class RollupSections(NamedTuple):
    """A rollup's items by what they are, in order."""

    bundled: list[Bundled]
    plain: list[bytes]
    """Items."""
    relays: list[bytes]
    """Raw transactions."""

    @property
    def transactions(self) -> int:
        """In all of them."""
        return sum(len(one.raws) for one in self.bundled) + len(self.plain) + len(self.relays)


def sections_of(proposal: Proposal) -> dict[RollupId, RollupSections]:
    """The sections of every rollup with items.

    Raises:
        CodecError: `codec_invalid`, `bundle_leg_empty` (a leg's or deliveries' bytes), `codec_too_many`.
        ProposalRefused: `bundle_leg_missing`, `bundle_leg_mismatch`, `bundle_allowed_revert_unknown`,
            `bundle_item_unexpected` (an item of a bundle that the section does not name, or out of its order).
    """
    found: dict[RollupId, RollupSections] = {}
    heads: dict[RollupId, list[bytes]] = {}
    for rollup_id, items in proposal.blocks:
        head, tail = bundled_count(items), relays_count(items)
        heads[rollup_id] = items[:head]
        found[rollup_id] = RollupSections(
            [], items[head : len(items) - tail], [item[1:] for item in items[len(items) - tail :]]
        )
    _take_bundled(proposal.bundles, heads, found)
    if sum(sections.transactions for sections in found.values()) > PROPOSAL_ITEMS_MAX:
        raise CodecError(f"more than {PROPOSAL_ITEMS_MAX} transactions", code="codec_too_many")
    return found


def _take_bundled(
    entries: Sequence[BundleEntry], heads: dict[RollupId, list[bytes]], found: dict[RollupId, RollupSections]
) -> None:
    """Gives every item of the heads to its bundle."""
    taken = dict.fromkeys(heads, 0)
    delivering = [rollup_id for rollup_id, items in heads.items() if any(item[:1] == DELIVERIES_KIND for item in items)]
    for place, entry in enumerate(entries):
        bundle_hash = entry.hash
        for leg in entry.terms.legs:
            items, at = heads.get(leg.rollup_id, []), taken.get(leg.rollup_id, 0)
            if at >= len(items) or items[at][:1] != LEG_KIND:
                raise _refused("bundle_leg_missing", place, bundle_hash, f"has no leg on rollup {leg.rollup_id}")
            found[leg.rollup_id].bundled.append(_leg(place, bundle_hash, leg, items[at]))
            taken[leg.rollup_id] = at + 1
        for rollup_id in delivering:
            items, at = heads[rollup_id], taken[rollup_id]
            if at < len(items) and items[at][:LEG_HEAD_BYTES] == DELIVERIES_KIND + bundle_hash:
                data = items[at][LEG_HEAD_BYTES:]
                found[rollup_id].bundled.append(
                    Bundled(place, False, decode_leg(data, count_max=DELIVERIES_PER_BUNDLE_MAX), data)
                )
                taken[rollup_id] = at + 1
    for rollup_id, items in heads.items():
        if taken[rollup_id] < len(items):
            raise ProposalRefused(
                f"item {taken[rollup_id]} of rollup {rollup_id} belongs to no bundle of the section at its place",
                code="bundle_item_unexpected",
                rollup_id=rollup_id,
                index=taken[rollup_id],
            )


def _leg(place: int, bundle_hash: Hash32, terms: LegTerms, item: bytes) -> Bundled:
    data = item[LEG_HEAD_BYTES:]
    if item[1:LEG_HEAD_BYTES] != bundle_hash or sha256(data).digest() != terms.leg_hash:
        raise _refused(
            "bundle_leg_mismatch",
            place,
            bundle_hash,
            f"has another leg on rollup {terms.rollup_id} than its terms name",
        )
    raws = decode_leg(data)
    if terms.allowed_reverts and terms.allowed_reverts[-1] >= len(raws):
        raise _refused(
            "bundle_allowed_revert_unknown", place, bundle_hash, "allows a revert of no transaction of its leg"
        )
    return Bundled(place, True, raws, data)


def _refused(code: str, place: int, bundle_hash: Hash32, problem: str) -> ProposalRefused:
    return ProposalRefused(f"bundle {place} (0x{bundle_hash.hex()}) {problem}", code=code, bundle=place)
