"""A bundle: transactions on any number of rollups that take place together, in one sub-block, or not at all.

`Bundle` is what a sender hands in. `BundleTerms` is everything of it but the transactions, which it names by hash: the
terms stand in a proposal's bundles section, the transactions in the rollups' items.

Level 0. Bounds are in `plait.limits`; `plait.codec.bundle` checks them and has the canonical bytes.
"""

from enum import StrEnum

import msgspec

from plait.types.identifiers import Address, Hash32, RollupId, Slot
from plait.types.quantities import Wei


class ConditionKind(StrEnum):
    """What a condition reads where its bundle stands."""

    BALANCE = "balance"
    """An account's balance in wei."""
    STORAGE = "storage"
    """A storage slot of a contract, as an unsigned integer."""


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
    slot: bytes
    """32 bytes for `storage`, empty for `balance`."""
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


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """Legs that are executed together or not at all."""

    legs: tuple[Leg, ...]
    """Strictly ascending by rollup id, at least one."""
    not_before_slot: Slot
    deadline_slot: Slot
    """Last slot in which it may take place."""
    conditions: tuple[Condition, ...] = ()
    fee_bid: Wei = Wei(0)
    """Reserved; 0."""


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
    fee_bid: Wei
