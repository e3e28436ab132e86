"""Reservations: the tops of blocks, kept for a bundle whose legs reference each other's logs before they are signed.

Who signs such references in advance must know in which block, at which timestamp and behind how many logs the legs will
run. A reservation names a slot in which each of the wanted rollups opens a block, and the place of the first log that a
user's transaction can emit there; a bundle that pins itself to these places and carries the reservation's id runs there
or not at all.

What is kept: no pinned bundle of anybody else is admitted for that slot on those rollups, and one that waits already is
dropped. Bundles without pins stand behind pinned ones in every sub-block, so they cannot come before. Consensus knows
pins only; another validator's pool keeps its own reservations.

Bounds: so many live reservations per signer and in all; one per block; a reservation ends with its slot by itself. The
signer must hold ether on one of the rollups, so that quotas cannot be multiplied by making up keys. What is signed
names the earliest slot, which must not have passed: a signature that somebody else sends again has no effect but the
answer that its signer had.

Level 2. Lives on one thread (the event loop's). Slots are arguments.
"""

from collections.abc import Iterable, Sequence
from math import lcm
from typing import Final, NamedTuple

from plait.errors import BundleRefused
from plait.limits import (
    BUNDLE_LEGS_MAX,
    RESERVATIONS_MAX,
    RESERVATIONS_PER_SIGNER_MAX,
    RESERVE_SLOTS_AHEAD_MAX,
    RESERVE_SLOTS_AHEAD_MIN,
)
from plait.mempool.lane import RollupReads
from plait.mempool.signatures import signer_of
from plait.native import PENDING as AT_PENDING
from plait.types import BlockNumber, BundleTerms, Pin, RollupId, RollupParameters, Slot

RESERVATION_ID_BYTES: Final = 16
DEPOSIT_LOGS: Final = 0
"""Logs that the deposits of a block emit: the L1-attributes deposit writes storage only, and there are no others
without a real L1."""
Place = tuple[RollupId, BlockNumber]
"""A block, whose top is kept."""


class Reservation(NamedTuple):
    """The tops of blocks that are opened in one slot."""

    id: bytes
    """16 bytes that nobody can guess: whoever knows them may use the reservation."""
    signer: bytes
    text: str
    """What was signed."""
    slot: Slot
    pins: tuple[Pin, ...]
    """Ascending by rollup id."""

    @property
    def places(self) -> list[Place]:
        """Its blocks."""
        return [(pin.rollup_id, pin.block_number) for pin in self.pins]


class Reservations:
    """The live reservations of a node."""

    def __init__(self, *, maximum: int = RESERVATIONS_MAX, per_signer_max: int = RESERVATIONS_PER_SIGNER_MAX) -> None:
        self.maximum = maximum
        self.per_signer_max = per_signer_max
        self._rollups: dict[RollupId, tuple[RollupReads, RollupParameters]] = {}
        self._live: dict[bytes, Reservation] = {}
        self._by_place: dict[Place, Reservation] = {}

    def __len__(self) -> int:
        return len(self._live)

    def add_rollup(self, rollup: RollupReads, parameters: RollupParameters) -> None:
        """Makes a rollup known."""
        self._rollups[parameters.rollup_id] = (rollup, parameters)

    def remove_rollup(self, rollup_id: RollupId) -> None:
        """Forgets a rollup and every reservation of its blocks."""
        self._rollups.pop(rollup_id, None)
        for reservation in list(self._live.values()):
            if any(place[0] == rollup_id for place in reservation.places):
                self._forget(reservation)

    # ------------------------------------------------------------ reserving
    def reserve(
        self, rollups: Sequence[RollupId], earliest: Slot, now: Slot, signature: bytes, new_id: bytes
    ) -> Reservation:
        """Keeps the tops of the next blocks that all of these rollups open in one slot.

        Args:
            rollups: 1 to BUNDLE_LEGS_MAX, each once.
            earliest: slot not to be earlier than, from `now` on; it lies RESERVE_SLOTS_AHEAD_MIN ahead at least.
            now: slot of the clock.
            signature: EIP-191 over `reservation_text(rollups, earliest)`.
            new_id: 16 random bytes; unused when the same was reserved before.

        Raises:
            BundleRefused: `reserve_rollups_invalid`, `rollup_unknown`, `reserve_slot_past`, `reserve_slot_too_far`,
                `reserve_signature_wrong`, `reserve_unfunded`, `reserve_quota_reached`, `reservations_full`,
                `reserve_taken`.
        """
        self.expire(now)
        wanted = sorted(set(rollups))
        if not wanted or len(wanted) != len(rollups) or len(wanted) > BUNDLE_LEGS_MAX:
            raise BundleRefused(
                f"reserve on 1 to {BUNDLE_LEGS_MAX} rollups, each named once", code="reserve_rollups_invalid"
            )
        for rollup_id in wanted:
            if rollup_id not in self._rollups:
                raise BundleRefused(
                    f"rollup {rollup_id} is not one of this network", code="rollup_unknown", rollup_id=rollup_id
                )
        if earliest < now:
            raise BundleRefused(
                f"slot {earliest} has passed, now it is {now}", code="reserve_slot_past", slot=earliest, now=now
            )
        last = Slot(now + RESERVE_SLOTS_AHEAD_MAX)
        if earliest > last:
            raise BundleRefused(
                f"slot {earliest} is too far ahead; at most {last} can be reserved now",
                code="reserve_slot_too_far",
                slot=earliest,
                maximum=last,
            )
        text = reservation_text(wanted, earliest)
        signer = signer_of(text, signature)
        if signer is None:
            raise BundleRefused(f"sign {text!r} (EIP-191)", code="reserve_signature_wrong")
        for held in self._live.values():
            if held.signer == signer and held.text == text:
                return held
        self._check_signer(signer, wanted)
        return self._keep(Reservation(new_id, signer, text, *self._free_slot(wanted, earliest, now, last)))

    def _check_signer(self, signer: bytes, wanted: Sequence[RollupId]) -> None:
        balances = (self._rollups[rollup_id][0].accounts([signer], AT_PENDING)[0][1] for rollup_id in wanted)
        if not any(balances):
            raise BundleRefused(
                f"0x{signer.hex()} signed, and has no ether on any of these rollups", code="reserve_unfunded"
            )
        if sum(held.signer == signer for held in self._live.values()) >= self.per_signer_max:
            raise BundleRefused(
                f"{self.per_signer_max} reservations of this signer are live; wait until one ends",
                code="reserve_quota_reached",
                maximum=self.per_signer_max,
            )
        if len(self._live) >= self.maximum:
            raise BundleRefused(f"{self.maximum} reservations are live; try again later", code="reservations_full")

    def _free_slot(
        self, wanted: Sequence[RollupId], earliest: Slot, now: Slot, last: Slot
    ) -> tuple[Slot, tuple[Pin, ...]]:
        """The first slot from `earliest` to `last` in which every rollup opens a block whose top is free."""
        rollups = {rollup_id: self._rollups[rollup_id][1] for rollup_id in wanted}
        step = lcm(*(rollup.block_time_slots for rollup in rollups.values()))
        first = max(earliest, now + RESERVE_SLOTS_AHEAD_MIN)
        for slot in range(-(-first // step) * step, last + 1, step):
            places = [(rollup_id, rollup.block_at(Slot(slot))) for rollup_id, rollup in rollups.items()]
            if not any(place in self._by_place for place in places):
                pins = (Pin(rollup_id=r, block_number=number, log_index=DEPOSIT_LOGS) for r, number in places)
                return Slot(slot), tuple(pins)
        raise BundleRefused(
            f"no slot up to {last} has free tops of blocks on all of these rollups; try again later",
            code="reserve_taken",
            last=last,
        )

    def _keep(self, reservation: Reservation) -> Reservation:
        self._live[reservation.id] = reservation
        for place in reservation.places:
            self._by_place[place] = reservation
        return reservation

    def expire(self, now: Slot) -> None:
        """Ends reservations of slots that have passed."""
        for reservation in [held for held in self._live.values() if held.slot < now]:
            self._forget(reservation)

    def _forget(self, reservation: Reservation) -> None:
        del self._live[reservation.id]
        for place in reservation.places:
            del self._by_place[place]

    # ------------------------------------------------------------ bundles
    def check(self, terms: BundleTerms, now: Slot, reservation_id: bytes | None) -> None:
        """Whether a bundle may pin what it pins.

        Args:
            terms: of the bundle.
            now: slot of the clock.
            reservation_id: that came with it.

        Raises:
            BundleRefused: `reserve_lost` when the reservation is not live, or is one of other pins; `reserve_taken`
                when somebody else reserved a block that the bundle would stand at the top of.
        """
        self.expire(now)
        if reservation_id is not None:
            held = self._live.get(reservation_id)
            if held is None:
                raise BundleRefused("the reservation has ended, or never was; make a new one", code="reserve_lost")
            if not terms.pins or not set(terms.pins) <= set(held.pins):
                raise BundleRefused(
                    f"the bundle's pins are not those of its reservation, which is for slot {held.slot}",
                    code="reserve_lost",
                    slot=held.slot,
                )
        taken = self.taken_by_other(terms, reservation_id)
        if taken is not None:
            raise BundleRefused(
                f"the top of block {taken[1]} of rollup {taken[0]} is reserved by somebody else",
                code="reserve_taken",
                rollup_id=taken[0],
                block_number=taken[1],
            )

    def taken_by_other(self, terms: BundleTerms, reservation_id: bytes | None) -> Place | None:
        """A reserved block that a pinned bundle touches without carrying its reservation.

        A leg without a pin of its own counts too: it runs in the slot that the other pins fix. Deliveries of a bundle
        that requires them may be on any rollup.
        """
        first, last = self.pinned_slots(terms.pins)
        if not terms.pins:
            return None
        touched = {pin.rollup_id for pin in terms.pins} | {leg.rollup_id for leg in terms.legs}
        for reservation in self._live.values():
            if reservation.id != reservation_id and first <= reservation.slot <= last:
                for place in reservation.places:
                    if place[0] in touched or terms.delivery_required:
                        return place
        return None

    def pinned_slots(self, pins: Iterable[Pin]) -> tuple[Slot, Slot]:
        """First and last slot in which all pinned blocks are open; last before first when there is none."""
        first, last = Slot(0), Slot(2**63)
        for pin in pins:
            rollup = self._rollups[pin.rollup_id][1]
            first = max(first, rollup.first_slot(pin.block_number))
            last = min(last, rollup.last_slot(pin.block_number))
        return first, last


def reservation_text(rollups: Sequence[RollupId], earliest: Slot) -> str:
    """What is signed for a reservation; rollups ascending."""
    return f"Plait: reserve rollups {','.join(map(str, rollups))} from slot {earliest}"


__all__ = ["DEPOSIT_LOGS", "RESERVATION_ID_BYTES", "Reservation", "Reservations", "reservation_text"]
