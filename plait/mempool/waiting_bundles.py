"""A bundle that waits in the pool: what came with it, its record, and which of many are tried first. Level 2."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from plait.codec.batch import LabelRequest
from plait.execution.bundles import DecodedBundle
from plait.limits import BUNDLES_PER_SUB_BLOCK_MAX
from plait.mempool.bundle_records import Label, Mishap, Payer, lowest_nonces_of
from plait.types import Hash32, Milliseconds, Slot


class BundleOrigin(NamedTuple):
    """What came with a bundle."""

    signature: bytes | None = None
    replaces: Hash32 | None = None
    reservation: bytes | None = None
    label: Label | None = None
    request: LabelRequest | None = None
    relayed: bool = False


UNSIGNED: Final = BundleOrigin()


class BundleAdmission(NamedTuple):
    """What the checks found out about a bundle that may come in."""

    origin: BundleOrigin
    payer: Payer
    slots: tuple[Slot, Slot]
    """First and last in which it can take place: its window, narrowed by its pins."""
    replaces: Hash32 | None


class WaitingBundle:
    """A bundle that waits."""

    __slots__ = (
        "bundle",
        "first_slot",
        "label",
        "last_slot",
        "mishap",
        "missed",
        "not_before_height",
        "origin",
        "payer",
        "senders",
        "size",
        "stamp_ms",
        "trials",
    )

    def __init__(self, bundle: DecodedBundle, admission: BundleAdmission, stamp_ms: Milliseconds) -> None:
        self.bundle = bundle
        self.payer = admission.payer
        self.label = admission.origin.label
        self.origin = admission.origin
        self.first_slot, self.last_slot = admission.slots
        self.stamp_ms = stamp_ms
        self.senders = lowest_nonces_of(bundle)
        self.size = sum(map(len, bundle.leg_bytes)) + len(bundle.terms_bytes)
        self.trials = 0
        self.not_before_height = 0
        self.mishap: Mishap | None = None
        self.missed = False


def shared(waiting: Sequence[WaitingBundle]) -> list[WaitingBundle]:
    """BUNDLES_PER_SUB_BLOCK_MAX of them: every payer's best, then every payer's second, and so on.

    The best are those that never failed; among them pinned ones, then the highest bids, then the oldest.
    """

    def rank(entry: WaitingBundle) -> tuple[bool, bool, bool, int, Milliseconds]:
        terms = entry.bundle.terms
        bid = 0 if terms.fee_bid is None else terms.fee_bid.amount
        return entry.trials > 0, entry.missed, not terms.pins, -bid, entry.stamp_ms

    turns: dict[Payer, int] = {}
    placed: list[tuple[int, int, WaitingBundle]] = []
    for place, entry in enumerate(sorted(waiting, key=rank)):
        turn = turns.get(entry.payer, 0)
        turns[entry.payer] = turn + 1
        placed.append((turn, place, entry))
    placed.sort(key=lambda item: item[:2])
    return [entry for _, _, entry in placed[:BUNDLES_PER_SUB_BLOCK_MAX]]
