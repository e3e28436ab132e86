"""Bundles as JSON: what clients send (`plait.rpc.bundle_answers` has what they are told). Level 7.

Slots, indices, counts, block numbers and rollup ids are JSON numbers; values of conditions and amounts of wei are hex
quantities.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from plait.limits import BUNDLE_DEADLINE_SLOTS_DEFAULT
from plait.mempool.reservations import RESERVATION_ID_BYTES
from plait.rpc.parameters import Kind, Schema, data_of_hex, fixed, quantity_of, slot_key
from plait.types import (
    Address,
    BlockNumber,
    Bundle,
    Comparison,
    Condition,
    ConditionKind,
    FeeBid,
    Hash32,
    Leg,
    Pin,
    RollupId,
    RollupParameters,
    Slot,
    Wei,
)


class _Leg(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    rollup_id: int
    transactions: list[str]
    allowed_reverts: list[int] = []


class _Condition(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    rollup_id: int
    kind: ConditionKind
    address: str
    comparison: Comparison
    value: str
    slot: str | None = None
    input: str | None = None


class _FeeBid(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    rollup_id: int
    amount: str


class _Pin(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    rollup_id: int
    block_number: int
    log_index: int


class _Bundle(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    legs: list[_Leg]
    not_before_slot: int | None = None
    deadline_slot: int | None = None
    conditions: list[_Condition] = []
    fee_bid: _FeeBid | None = None
    delivery_required: bool = False
    pins: list[_Pin] = []


class BundleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle as a client sends it; the node chooses what its window leaves open."""

    legs: tuple[Leg, ...]
    conditions: tuple[Condition, ...]
    fee_bid: FeeBid | None
    delivery_required: bool
    pins: tuple[Pin, ...]
    not_before_slot: Slot | None
    deadline_slot: Slot | None

    def bundle(self, slot: Slot, rollups: Mapping[RollupId, RollupParameters]) -> Bundle:
        """The bundle with a whole window: by default from now on for BUNDLE_DEADLINE_SLOTS_DEFAULT slots, and with pins
        no longer than the blocks that they name are open.

        Args:
            slot: of the clock.
            rollups: of the network; pins of others bound nothing.
        """
        opens, closes = Slot(0), None
        for pin in self.pins:
            rollup = rollups.get(pin.rollup_id)
            if rollup is not None:
                opens = Slot(max(opens, rollup.first_slot(pin.block_number)))
                last = rollup.last_slot(pin.block_number)
                closes = last if closes is None else min(closes, last)
        not_before = opens if self.not_before_slot is None else self.not_before_slot
        if closes is None:
            closes = Slot(max(slot, not_before) + BUNDLE_DEADLINE_SLOTS_DEFAULT)
        return Bundle(
            legs=self.legs,
            conditions=self.conditions,
            fee_bid=self.fee_bid,
            delivery_required=self.delivery_required,
            pins=self.pins,
            not_before_slot=not_before,
            deadline_slot=closes if self.deadline_slot is None else self.deadline_slot,
        )


class SendOptions(msgspec.Struct, frozen=True):
    """What comes with a bundle."""

    signature: bytes | None = None
    replaces: Hash32 | None = None
    reservation: bytes | None = None


class _Options(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    signature: str | None = None
    replaces: str | None = None
    reservation: str | None = None


class ReserveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rollups whose blocks' tops are wanted, and the earliest slot."""

    rollups: tuple[int, ...]
    slot: int


_reserve: Final = msgspec.json.Decoder(ReserveRequest)
_decoder: Final = msgspec.json.Decoder(_Bundle)
_options: Final = msgspec.json.Decoder(_Options)
_MAX: Final = 2**53 - 1
_LOG_INDEX_MAX: Final = 2**32 - 1


def bundle_request(data: bytes) -> BundleRequest:
    """The bundle of a request. Raises ValueError with the problem."""
    try:
        found = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    _check_numbers(found)
    legs = [
        Leg(
            rollup_id=RollupId(leg.rollup_id),
            transactions=tuple(map(data_of_hex, leg.transactions)),
            allowed_reverts=tuple(leg.allowed_reverts),
        )
        for leg in found.legs
    ]
    bid = found.fee_bid
    pins = [
        Pin(rollup_id=RollupId(pin.rollup_id), block_number=BlockNumber(pin.block_number), log_index=pin.log_index)
        for pin in found.pins
    ]
    return BundleRequest(
        legs=tuple(sorted(legs, key=lambda leg: leg.rollup_id)),
        conditions=tuple(map(_condition, found.conditions)),
        fee_bid=None if bid is None else FeeBid(rollup_id=RollupId(bid.rollup_id), amount=_wei(bid.amount)),
        delivery_required=found.delivery_required,
        pins=tuple(sorted(pins, key=lambda pin: pin.rollup_id)),
        not_before_slot=None if found.not_before_slot is None else Slot(found.not_before_slot),
        deadline_slot=None if found.deadline_slot is None else Slot(found.deadline_slot),
    )


def _check_numbers(found: _Bundle) -> None:
    numbers = [found.not_before_slot or 0, found.deadline_slot or 0]
    numbers += [leg.rollup_id for leg in found.legs] + [condition.rollup_id for condition in found.conditions]
    numbers += [index for leg in found.legs for index in leg.allowed_reverts]
    numbers += [number for pin in found.pins for number in (pin.rollup_id, pin.block_number, pin.log_index)]
    if found.fee_bid is not None:
        numbers.append(found.fee_bid.rollup_id)
    if any(not 0 <= number <= _MAX for number in numbers):
        raise ValueError("slots, indices, block numbers and rollup ids are numbers from 0 to 2**53 - 1")
    if any(pin.log_index > _LOG_INDEX_MAX for pin in found.pins):
        raise ValueError("a log index is below 2**32")


def _wei(value: str) -> Wei:
    return Wei(quantity_of(value, 256))


def _condition(found: _Condition) -> Condition:
    if (found.slot is not None) != (found.kind is ConditionKind.STORAGE):
        raise ValueError("a condition has a slot exactly when its kind is storage")
    if (found.input is not None) != (found.kind is ConditionKind.CALL):
        raise ValueError("a condition has an input exactly when its kind is call")
    data = b"" if found.slot is None else slot_key(found.slot)
    return Condition(
        rollup_id=RollupId(found.rollup_id),
        kind=found.kind,
        address=Address(fixed(found.address, 20)),
        input=data if found.input is None else data_of_hex(found.input),
        comparison=found.comparison,
        value=quantity_of(found.value, 256),
    )


def send_options(data: bytes) -> SendOptions:
    """Signature, replaced bundle and reservation. Raises ValueError with the problem."""
    try:
        found = _options.decode(data)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    return SendOptions(
        None if found.signature is None else data_of_hex(found.signature),
        None if found.replaces is None else Hash32(fixed(found.replaces, 32)),
        None if found.reservation is None else fixed(found.reservation, RESERVATION_ID_BYTES),
    )


def reserve_request(data: bytes) -> ReserveRequest:
    """What plait_reserve asks for. Raises ValueError with the problem."""
    try:
        found = _reserve.decode(data)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    if any(not 0 <= number <= _MAX for number in (*found.rollups, found.slot)):
        raise ValueError("slots and rollup ids are numbers from 0 to 2**53 - 1")
    return found


_NUMBER: Final[Schema] = {"type": "integer", "minimum": 0}
BUNDLE_SCHEMA: Final[Schema] = {
    "title": "bundle",
    "type": "object",
    "required": ["legs"],
    "properties": {
        "legs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["rollupId", "transactions"],
                "properties": {
                    "rollupId": _NUMBER,
                    "transactions": {"type": "array", "items": {"type": "string"}},
                    "allowedReverts": {"type": "array", "items": _NUMBER},
                },
            },
        },
        "notBeforeSlot": _NUMBER,
        "deadlineSlot": _NUMBER,
        "conditions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["rollupId", "kind", "address", "comparison", "value"],
                "properties": {
                    "rollupId": _NUMBER,
                    "kind": {"enum": [str(kind) for kind in ConditionKind]},
                    "address": {"type": "string"},
                    "slot": {"type": "string"},
                    "input": {"type": "string"},
                    "comparison": {"enum": [str(comparison) for comparison in Comparison]},
                    "value": {"type": "string"},
                },
            },
        },
        "feeBid": {
            "type": "object",
            "required": ["rollupId", "amount"],
            "properties": {"rollupId": _NUMBER, "amount": {"type": "string"}},
        },
        "deliveryRequired": {"type": "boolean"},
        "pins": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["rollupId", "blockNumber", "logIndex"],
                "properties": {"rollupId": _NUMBER, "blockNumber": _NUMBER, "logIndex": _NUMBER},
            },
        },
    },
}
_TEXT: Final[Schema] = {"type": "string"}
_OPTIONS_SCHEMA: Final[Schema] = {
    "title": "what comes with a bundle",
    "type": "object",
    "properties": {"signature": _TEXT, "replaces": _TEXT, "reservation": _TEXT},
}
BUNDLE: Final = Kind(bundle_request, BUNDLE_SCHEMA, raw=True)
SEND_OPTIONS: Final = Kind(send_options, _OPTIONS_SCHEMA, raw=True)
RESERVE: Final = Kind(
    reserve_request,
    {
        "title": "what to reserve",
        "type": "object",
        "required": ["rollups", "slot"],
        "properties": {"rollups": {"type": "array", "items": _NUMBER}, "slot": _NUMBER},
    },
    raw=True,
)
