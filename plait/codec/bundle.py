"""Canonical bytes of a bundle, its hash, and the rules that need nothing but the bundle itself.

    terms       = [version = 1, not_before_slot, deadline_slot, [[rollup_id, leg_hash, [index, ...]], ...],
                   [condition, ...], fee_bid, delivery_required, [pin, ...]]
    condition   = [rollup_id, kind, address, input, comparison, value]
    kind        = 0 balance, 1 storage, 2 call      comparison = 0 eq, 1 ne, 2 lt, 3 gt, 4 le, 5 ge
    fee_bid     = [] | [rollup_id, amount >= 1]     delivery_required = 0 | 1
    pin         = [rollup_id, block_number, log_index]
    leg         = [transaction, ...]                leg_hash   = SHA-256(leg)
    bundle hash = SHA-256(terms)

Legs and pins are strictly ascending by rollup id, allowed reverts strictly ascending by index. A condition's input is
empty under `balance`, a slot of 32 bytes under `storage`, and calldata under `call`. The terms name every transaction
through the leg hashes, so the bundle hash names the bundle as a whole.

Level 0. Raises CodecError only.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from plait.codec.rlp import EMPTY_LIST, Reader, encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.errors import CodecError
from plait.limits import (
    BUNDLE_BYTES_MAX,
    BUNDLE_CONDITIONS_MAX,
    BUNDLE_LEG_TRANSACTIONS_MAX,
    BUNDLE_LEGS_MAX,
    CONDITION_INPUT_BYTES_MAX,
    TRANSACTION_BYTES_MAX,
)
from plait.types import (
    Address,
    BlockNumber,
    Bundle,
    BundleTerms,
    Comparison,
    Condition,
    ConditionKind,
    FeeBid,
    Hash32,
    LegTerms,
    Pin,
    RollupId,
    Slot,
    Wei,
)

BUNDLE_VERSION: Final = 1
_KINDS: Final = (ConditionKind.BALANCE, ConditionKind.STORAGE, ConditionKind.CALL)
_COMPARISONS: Final = tuple(Comparison)
_WORD_MAX: Final = 2**256 - 1
_INPUT_BYTES: Final = {
    ConditionKind.BALANCE: (0, 0),
    ConditionKind.STORAGE: (32, 32),
    ConditionKind.CALL: (0, CONDITION_INPUT_BYTES_MAX),
}


def encode_leg(transactions: tuple[bytes, ...]) -> bytes:
    """A leg's transactions as one list."""
    return encode_bytes_list(transactions)


def decode_leg(data: bytes, *, count_max: int = BUNDLE_LEG_TRANSACTIONS_MAX) -> list[bytes]:
    """The transactions of a leg, or of what has its form.

    Raises:
        CodecError: not a canonical list of 1 to `count_max` strings.
    """
    outer = Reader(data, what="leg")
    raws = outer.read_bytes_list("leg", count_max=count_max, size_max=TRANSACTION_BYTES_MAX)
    outer.end()
    if not raws:
        raise CodecError("a leg has no transactions", code="bundle_leg_empty")
    return raws


def terms_of(bundle: Bundle, legs: Sequence[bytes] | None = None) -> BundleTerms:
    """The bundle with hashes in the place of its transactions.

    Args:
        bundle: what a sender handed in.
        legs: the canonical bytes of its legs, where they are known already.
    """
    if legs is None:
        legs = [encode_leg(leg.transactions) for leg in bundle.legs]
    return BundleTerms(
        not_before_slot=bundle.not_before_slot,
        deadline_slot=bundle.deadline_slot,
        legs=tuple(
            LegTerms(
                rollup_id=leg.rollup_id,
                leg_hash=Hash32(sha256(data).digest()),
                allowed_reverts=leg.allowed_reverts,
            )
            for leg, data in zip(bundle.legs, legs, strict=True)
        ),
        conditions=bundle.conditions,
        fee_bid=bundle.fee_bid,
        delivery_required=bundle.delivery_required,
        pins=bundle.pins,
    )


def encode_terms(terms: BundleTerms) -> bytes:
    """Canonical bytes of a bundle's terms."""
    bid = terms.fee_bid
    return encode_list(
        (
            encode_uint(BUNDLE_VERSION),
            encode_uint(terms.not_before_slot),
            encode_uint(terms.deadline_slot),
            encode_list([_encode_leg_terms(leg) for leg in terms.legs]),
            encode_list(map(_encode_condition, terms.conditions)) if terms.conditions else EMPTY_LIST,
            encode_list((encode_uint(bid.rollup_id), encode_uint(bid.amount))) if bid is not None else EMPTY_LIST,
            encode_uint(terms.delivery_required),
            encode_list(map(_encode_pin, terms.pins)) if terms.pins else EMPTY_LIST,
        )
    )


def bundle_hash_of(terms: bytes) -> Hash32:
    """Identity of a bundle."""
    return Hash32(sha256(terms).digest())


def decode_terms(data: bytes) -> BundleTerms:
    """Reads the canonical bytes of a bundle's terms and checks them by `check_terms`.

    Raises:
        CodecError: `codec_invalid`, `codec_version_unknown`, or what `check_terms` gives.
    """
    outer = Reader(data, what="bundle terms")
    reader = outer.read_list("bundle terms")
    outer.end()
    version = reader.read_uint()
    if version != BUNDLE_VERSION:
        raise CodecError(
            f"bundle version {version}; this build knows {BUNDLE_VERSION}",
            code="codec_version_unknown",
            version=version,
        )
    not_before, deadline = Slot(reader.read_uint()), Slot(reader.read_uint())
    legs: list[LegTerms] = []
    listed = reader.read_list("legs")
    while listed.more:
        _require_room(len(legs), BUNDLE_LEGS_MAX, "bundle_too_many_legs", "legs")
        leg = listed.read_list("leg terms")
        rollup_id, leg_hash = RollupId(leg.read_uint()), Hash32(leg.read_bytes(size=32))
        allowed = leg.read_list("allowed reverts")
        leg.end()
        indices: list[int] = []
        while allowed.more:
            indices.append(allowed.read_uint(BUNDLE_LEG_TRANSACTIONS_MAX - 1))
        legs.append(LegTerms(rollup_id=rollup_id, leg_hash=leg_hash, allowed_reverts=tuple(indices)))
    conditions: list[Condition] = []
    found = reader.read_list("conditions")
    while found.more:
        _require_room(len(conditions), BUNDLE_CONDITIONS_MAX, "bundle_too_many_conditions", "conditions")
        conditions.append(_decode_condition(found.read_list("condition")))
    terms = BundleTerms(
        not_before_slot=not_before,
        deadline_slot=deadline,
        legs=tuple(legs),
        conditions=tuple(conditions),
        fee_bid=_decode_fee_bid(reader.read_list("fee bid")),
        delivery_required=bool(reader.read_uint(1)),
        pins=_decode_pins(reader.read_list("pins")),
    )
    reader.end()
    check_terms(terms)
    return terms


def check_terms(terms: BundleTerms) -> None:
    """The rules of a bundle that need no state.

    Raises:
        CodecError: `bundle_no_legs`, `bundle_too_many_legs`, `bundle_legs_unsorted`, `bundle_reverts_unsorted`,
            `bundle_too_many_conditions`, `bundle_condition_malformed`, `bundle_fee_bid_zero`, `bundle_too_many_pins`,
            `bundle_pins_unsorted`, `bundle_window_empty`.
    """
    if not terms.legs:
        raise CodecError("a bundle needs at least one leg", code="bundle_no_legs")
    _require_room(len(terms.legs) - 1, BUNDLE_LEGS_MAX, "bundle_too_many_legs", "legs")
    _require_room(len(terms.conditions) - 1, BUNDLE_CONDITIONS_MAX, "bundle_too_many_conditions", "conditions")
    _require_ascending("bundle_legs_unsorted", "leg", [leg.rollup_id for leg in terms.legs])
    for leg in terms.legs:
        allowed = leg.allowed_reverts
        if list(allowed) != sorted(set(allowed)) or (allowed and not 0 <= allowed[0] <= allowed[-1] <= 255):
            raise CodecError(
                f"the allowed reverts of rollup {leg.rollup_id} are not strictly ascending indices",
                code="bundle_reverts_unsorted",
                rollup_id=leg.rollup_id,
            )
    for condition in terms.conditions:
        least, most = _INPUT_BYTES[condition.kind]
        if (
            not least <= len(condition.input) <= most
            or len(condition.address) != 20
            or not 0 <= condition.value <= _WORD_MAX
        ):
            raise CodecError(
                f"a condition of kind {condition.kind} has an address of 20 bytes, an input of {least} to {most} bytes "
                "and a value below 2**256",
                code="bundle_condition_malformed",
                rollup_id=condition.rollup_id,
            )
    if terms.fee_bid is not None and not 1 <= terms.fee_bid.amount <= _WORD_MAX:
        raise CodecError("a fee bid is at least 1 wei; leave it out to bid nothing", code="bundle_fee_bid_zero")
    _require_room(len(terms.pins) - 1, BUNDLE_LEGS_MAX, "bundle_too_many_pins", "pins")
    _require_ascending("bundle_pins_unsorted", "pin", [pin.rollup_id for pin in terms.pins])
    if terms.not_before_slot > terms.deadline_slot:
        raise CodecError(
            f"the bundle begins with slot {terms.not_before_slot}, after its deadline {terms.deadline_slot}",
            code="bundle_window_empty",
            not_before_slot=terms.not_before_slot,
            deadline_slot=terms.deadline_slot,
        )


def check_leg_sizes(bundle: Bundle) -> None:
    """The rules of a bundle's transactions that need no decoding.

    Raises:
        CodecError: `bundle_leg_empty`, `bundle_too_many_transactions`, `bundle_reverts_unsorted`, `bundle_too_large`.
    """
    size = 0
    for leg in bundle.legs:
        count = len(leg.transactions)
        if not count:
            raise CodecError(
                f"the leg of rollup {leg.rollup_id} has no transactions",
                code="bundle_leg_empty",
                rollup_id=leg.rollup_id,
            )
        _require_room(count - 1, BUNDLE_LEG_TRANSACTIONS_MAX, "bundle_too_many_transactions", "transactions of a leg")
        if leg.allowed_reverts and leg.allowed_reverts[-1] >= count:
            raise CodecError(
                f"an allowed revert of rollup {leg.rollup_id} names transaction {leg.allowed_reverts[-1]} of {count}",
                code="bundle_reverts_unsorted",
                rollup_id=leg.rollup_id,
            )
        size += sum(map(len, leg.transactions))
    if size > BUNDLE_BYTES_MAX:
        raise CodecError(
            f"the bundle's transactions have {size} bytes, at most {BUNDLE_BYTES_MAX} are taken",
            code="bundle_too_large",
            size=size,
        )


def _encode_leg_terms(leg: LegTerms) -> bytes:
    allowed = encode_list(map(encode_uint, leg.allowed_reverts)) if leg.allowed_reverts else EMPTY_LIST
    return encode_list((encode_uint(leg.rollup_id), encode_bytes(leg.leg_hash), allowed))


def _encode_pin(pin: Pin) -> bytes:
    return encode_list(map(encode_uint, (pin.rollup_id, pin.block_number, pin.log_index)))


def _encode_condition(condition: Condition) -> bytes:
    return encode_list(
        (
            encode_uint(condition.rollup_id),
            encode_uint(_KINDS.index(condition.kind)),
            encode_bytes(condition.address),
            encode_bytes(condition.input),
            encode_uint(_COMPARISONS.index(condition.comparison)),
            encode_uint(condition.value),
        )
    )


def _decode_condition(reader: Reader) -> Condition:
    rollup_id = RollupId(reader.read_uint())
    kind = _KINDS[reader.read_uint(len(_KINDS) - 1)]
    address, data = Address(reader.read_bytes(size=20)), reader.read_bytes(size_max=CONDITION_INPUT_BYTES_MAX)
    comparison = _COMPARISONS[reader.read_uint(len(_COMPARISONS) - 1)]
    value = reader.read_uint(_WORD_MAX)
    reader.end()
    return Condition(rollup_id=rollup_id, kind=kind, address=address, input=data, comparison=comparison, value=value)


def _decode_fee_bid(reader: Reader) -> FeeBid | None:
    if not reader.more:
        return None
    bid = FeeBid(rollup_id=RollupId(reader.read_uint()), amount=Wei(reader.read_uint(_WORD_MAX)))
    reader.end()
    return bid


def _decode_pins(reader: Reader) -> tuple[Pin, ...]:
    pins: list[Pin] = []
    while reader.more:
        _require_room(len(pins), BUNDLE_LEGS_MAX, "bundle_too_many_pins", "pins")
        pin = reader.read_list("pin")
        rollup_id, block_number = RollupId(pin.read_uint()), BlockNumber(pin.read_uint())
        pins.append(Pin(rollup_id=rollup_id, block_number=block_number, log_index=pin.read_uint(2**32 - 1)))
        pin.end()
    return tuple(pins)


def _require_ascending(code: str, what: str, rollup_ids: Sequence[RollupId]) -> None:
    before = 0
    for rollup_id in rollup_ids:
        if rollup_id <= before:
            raise CodecError(
                f"the {what} of rollup {rollup_id} stands after that of {before}; they go strictly ascending",
                code=code,
                rollup_id=rollup_id,
            )
        before = rollup_id


def _require_room(count: int, maximum: int, code: str, what: str) -> None:
    if count >= maximum:
        raise CodecError(f"more than {maximum} {what}", code=code, maximum=maximum)
