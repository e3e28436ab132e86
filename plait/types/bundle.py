"""A bundle: transactions on any number of rollups that take place together, in one sub-block, or not at all.

`Bundle` is what a sender hands in. `BundleTerms` is everything of it but the transactions, which it names by hash: the
terms stand in a proposal's bundles section, the transactions in the rollups' items.

Level 0. Bounds are in `plait.limits`; `plait.codec.bundle` checks them and has the canonical bytes.
"""

from enum import StrEnum

import msgspec

from plait.types.identifiers import Address, BlockNumber, Hash32, RollupId, Slot
from plait.types.quantities import Wei


class ConditionKind(StrEnum):
    """What a condition reads where its bundle stands."""

    BALANCE = "balance"
    """An account's balance in wei."""
    STORAGE = "storage"
    """A storage slot of a contract, as an unsigned integer."""
    CALL = "call"
    """The first word that a read-only call of a contract returns, as an unsigned integer."""


class Comparison(StrEnum):
    """How what was read must relate to the condition's value."""

    EQUAL = "eq"
    NOT_EQUAL = "ne"
    LESS = "lt"
    GREATER = "gt"
    LESS_OR_EQUAL = "le"
    GREATER_OR_EQUAL = "ge"

    def holds(self, found: int, value: int) -> bool:
        """Whether `found <comparison> value`."""
        if self is Comparison.EQUAL:
            return found == value
        if self is Comparison.NOT_EQUAL:
            return found != value
        if self is Comparison.LESS:
            return found < value
        if self is Comparison.GREATER:
            return found > value
        if self is Comparison.LESS_OR_EQUAL:
            return found <= value
        return found >= value


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison of one rollup's state, right before the bundle's legs run, with a value."""

    rollup_id: RollupId
    kind: ConditionKind
    address: Address
    input: bytes
    """Empty for `balance`, the 32-byte slot for `storage`, the calldata for `call`."""
    comparison: Comparison
    value: int
    """0 to 2**256 - 1."""


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle's transactions on one rollup, in order."""

    rollup_id: RollupId
    transactions: tuple[bytes, ...]
    """Signed, EIP-2718."""
    allowed_reverts: tuple[int, ...] = ()
    """Indices of transactions that may revert without failing the bundle, ascending."""


class FeeBid(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle pays for its place: how much a rollup's sequencer fee vault gains through it, at least.

    Priority fees of its transactions count, transfers to the vault too. The bid is part of what has to hold: a bundle
    that pays less does not take place.
    """

    rollup_id: RollupId
    amount: Wei


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bundle begins on a rollup: in this block, after exactly so many logs of it.

    Senders who sign references to each other's logs in advance need to know their positions.
    """

    rollup_id: RollupId
    block_number: BlockNumber
    log_index: int


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """Legs that are executed together or not at all."""

    legs: tuple[Leg, ...]
    """Strictly ascending by rollup id, at least one."""
    not_before_slot: Slot
    deadline_slot: Slot
    """Last slot in which it may take place."""
    conditions: tuple[Condition, ...] = ()
    fee_bid: FeeBid | None = None
    delivery_required: bool = False
    """Whether every message that it sends to a rollup of the interop set is delivered as part of it."""
    pins: tuple[Pin, ...] = ()
    """Strictly ascending by rollup id."""


class LegTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A leg without its transactions."""

    rollup_id: RollupId
    leg_hash: Hash32
    allowed_reverts: tuple[int, ...]


class BundleTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle without its transactions; its hash names the bundle."""

    not_before_slot: Slot
    deadline_slot: Slot
    legs: tuple[LegTerms, ...]
    conditions: tuple[Condition, ...]
    fee_bid: FeeBid | None
    delivery_required: bool
    pins: tuple[Pin, ...]

    @property
    def rollup_ids(self) -> frozenset[RollupId]:
        """Every rollup that the bundle names."""
        bid = () if self.fee_bid is None else (self.fee_bid.rollup_id,)
        return frozenset(
            (
                *(leg.rollup_id for leg in self.legs),
                *(condition.rollup_id for condition in self.conditions),
                *(pin.rollup_id for pin in self.pins),
                *bid,
            )
        )
