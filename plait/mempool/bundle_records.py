"""What the pool of bundles says of a bundle, what it needs to be told, and who answers for one. Level 2."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from plait.errors import BundleRefused
from plait.execution.bundles import DecodedBundle
from plait.mempool.lane import RollupDecided
from plait.mempool.signatures import signer_of
from plait.types import Bundle, Hash32, Height, Leg, RollupId, Slot

Payer = bytes
"""One byte (1 signed, 0 not) and an address."""


class Label(NamedTuple):
    """A name of a bundle that its requester chose, in one rollup's name space."""

    requester: bytes
    """Address."""
    rollup_id: RollupId
    name: str


class Placement(msgspec.Struct, frozen=True):
    """A leg and where it was decided."""

    rollup_id: RollupId
    transactions: tuple[Hash32, ...]
    block_number: int | None
    """None before it is decided."""


class Mishap(msgspec.Struct, frozen=True):
    """Why a bundle failed or was dropped."""

    code: str
    sentence: str
    rollup_id: RollupId | None = None
    index: int | None = None
    reason: str = ""
    output: bytes = b""
    """First bytes of the revert data, at most MISHAP_OUTPUT_BYTES_MAX."""


class BundleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a bundle has come."""

    hash: Hash32
    status: Literal["received", "decided", "sealed", "dropped"]
    legs: tuple[Placement, ...]
    not_before_slot: Slot
    deadline_slot: Slot
    height: Height | None = None
    trials: int = 0
    """Failed ones so far."""
    mishap: Mishap | None = None
    """Why it was dropped; while it waits, why it failed last."""
    deliveries: tuple[Placement, ...] = ()
    """Once it is decided: the transactions of relayers that delivered its messages."""


class TrialFailed(Protocol):
    """A trial that failed; `protocol.requests.BundleFailed` has it."""

    @property
    def hash(self) -> Hash32:
        """Of the bundle."""
        ...

    @property
    def code(self) -> str:
        """Stable code."""
        ...

    @property
    def sentence(self) -> str:
        """In words."""
        ...

    @property
    def rollup_id(self) -> RollupId:
        """Where it failed."""
        ...

    @property
    def index(self) -> int:
        """Of the transaction in its leg, or of the condition."""
        ...

    @property
    def reason(self) -> str:
        """The transaction's own code."""
        ...

    @property
    def output(self) -> bytes:
        """Revert data."""
        ...

    @property
    def charged(self) -> bool:
        """Whether the payer answers for it."""
        ...

    @property
    def gas_used(self) -> int:
        """Gas that the trial burnt."""
        ...


class BundleDecided(Protocol):
    """A bundle that took place; `protocol.effects.BundleDecided` has it."""

    @property
    def hash(self) -> Hash32:
        """Of the bundle."""
        ...

    @property
    def legs(self) -> Sequence[tuple[RollupId, tuple[Hash32, ...]]]:
        """Per rollup the hashes of its transactions, in order."""
        ...

    @property
    def deliveries(self) -> Sequence[tuple[RollupId, tuple[Hash32, ...]]]:
        """Per rollup the hashes of the transactions that delivered its messages."""
        ...


class SubBlockEffect(Protocol):
    """What the pool needs of a decided sub-block; `protocol.effects.SubBlockDecided` has it."""

    @property
    def height(self) -> Height:
        """Of the sub-block."""
        ...

    @property
    def slot(self) -> Slot:
        """Its slot."""
        ...

    @property
    def rollups(self) -> Sequence[RollupDecided]:
        """Its parts."""
        ...

    @property
    def bundles(self) -> Sequence[BundleDecided]:
        """Bundles that took place."""
        ...


# ---------------------------------------------------------------- who
def signed_text(act: Literal["send", "cancel", "replace"], bundle_hash: Hash32, other: Hash32 | None = None) -> str:
    """What a sender signs as a personal message (EIP-191, version 0x45); `other` is what a replacement brings."""
    text = f"Plait: {act} bundle 0x{bundle_hash.hex()}"
    return text if other is None else f"{text} with 0x{other.hex()}"


def senders_of(bundle: DecodedBundle) -> frozenset[tuple[RollupId, bytes]]:
    """Who signed the bundle's transactions, per rollup."""
    return frozenset(
        (leg.rollup_id, transaction.sender)
        for leg, transactions in zip(bundle.terms.legs, bundle.legs, strict=True)
        for transaction in transactions
    )


def lowest_nonces_of(bundle: DecodedBundle) -> dict[tuple[RollupId, bytes], int]:
    """Who signed the bundle's transactions, per rollup, and the lowest nonce of each."""
    found: dict[tuple[RollupId, bytes], int] = {}
    for leg, transactions in zip(bundle.terms.legs, bundle.legs, strict=True):
        for transaction in transactions:
            sender, nonce = (leg.rollup_id, transaction.sender), transaction.nonce
            if nonce < found.get(sender, nonce + 1):
                found[sender] = nonce
    return found


def payer_of(bundle: DecodedBundle, signature: bytes | None, requester: bytes | None) -> Payer:
    """Who answers for a bundle: who signed it, or authenticated its request, if that is one of its senders.

    Raises:
        BundleRefused: `bundle_signature_wrong`.
    """
    if signature is None:
        if requester is not None and any(requester == address for _, address in senders_of(bundle)):
            return b"\1" + requester
        return b"\0" + bundle.legs[0][0].sender
    text = signed_text("send", bundle.hash)
    signer = signer_of(text, signature)
    if signer is None or all(signer != address for _, address in senders_of(bundle)):
        raise BundleRefused(
            f"sign {text!r} (EIP-191) with the key of one of the bundle's senders", code="bundle_signature_wrong"
        )
    return b"\1" + signer


def payer_of_replacement(bundle: DecodedBundle, replaces: Hash32, signature: bytes | None) -> Payer:
    """Who answers for a bundle that took the place of one which never came here: who signed that, if it is one of its
    senders."""
    signer = None if signature is None else signer_of(signed_text("replace", replaces, bundle.hash), signature)
    if signer is not None and any(signer == address for _, address in senders_of(bundle)):
        return b"\1" + signer
    return b"\0" + bundle.legs[0][0].sender


def bundle_of(bundle: DecodedBundle) -> Bundle:
    """A decoded bundle as it was handed in."""
    terms = bundle.terms
    return Bundle(
        legs=tuple(
            Leg(
                rollup_id=leg.rollup_id,
                transactions=tuple([transaction.raw for transaction in transactions]),
                allowed_reverts=leg.allowed_reverts,
            )
            for leg, transactions in zip(terms.legs, bundle.legs, strict=True)
        ),
        not_before_slot=terms.not_before_slot,
        deadline_slot=terms.deadline_slot,
        conditions=terms.conditions,
        fee_bid=terms.fee_bid,
        delivery_required=terms.delivery_required,
        pins=terms.pins,
    )


def placements_of(bundle: DecodedBundle) -> tuple[Placement, ...]:
    """Its legs before they are decided."""
    return tuple(
        [
            Placement(leg.rollup_id, tuple([Hash32(transaction.hash) for transaction in transactions]), None)
            for leg, transactions in zip(bundle.terms.legs, bundle.legs, strict=True)
        ]
    )
