"""What a decided sub-block brought about: data that adapters store, stream and count. The protocol itself performs no
IO.

Level 4. Storage writes the proposal to the durable log before anything of an effect is answered as decided.
"""

from collections.abc import Sequence

import msgspec

from plait.crypto.commitments import SubBlockCommitment
from plait.interop.relays import Relay
from plait.native import OpenBlock, Outcomes, SealedBlock, Transaction
from plait.types import Agreed, BlockNumber, Hash32, Height, Milliseconds, RollupId, Slot, SubIndex, ValidatorUpdate
from plait.types.action import SignedAction


class RollupEffect(msgspec.Struct, frozen=True, kw_only=True):
    """One rollup's part of a sub-block. Rollups with neither transactions nor a new block have none."""

    rollup_id: RollupId
    transactions: tuple[Transaction, ...]
    """In their decided order; they went into the last block of `opened`, or into the block that was open already."""
    statuses: bytes
    """Per transaction, same order: 1 succeeded, 0 reverted or halted."""
    bundled_transactions: int
    """How many of the first transactions belong to bundles: legs and deliveries."""
    relays_transactions: int
    """How many of the last ones are relays."""
    outcomes: Outcomes | None
    """Of the run that executed the transactions between those; None when there are none. Ask it about the i-th of them
    by index `positions[i]`: a run that prepared the sub-block also tried transactions that were left out."""
    positions: Sequence[int]
    sealed: tuple[SealedBlock, ...]
    opened: tuple[OpenBlock, ...]
    """The open block after this sub-block when it changed; one entry at most, the current one. Blocks sealed in
    between are in `sealed`."""


class BundleDecided(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that took place."""

    hash: Hash32
    legs: tuple[tuple[RollupId, tuple[Hash32, ...]], ...]
    """Per rollup the hashes of its transactions, in order."""
    deliveries: tuple[tuple[RollupId, tuple[Hash32, ...]], ...] = ()
    """Per rollup the hashes of the transactions that delivered its messages."""


class Unwound(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup went back: its blocks after `to_number` are replaced by others."""

    rollup_id: RollupId
    to_number: BlockNumber
    to_hash: Hash32
    first_lost: BlockNumber
    last_lost: BlockNumber
    """Of sealed blocks; below `first_lost` when only the open block was lost."""
    lost_hashes: tuple[Hash32, ...]
    """Of the sealed blocks that are gone, ascending by number."""
    lost: tuple[bytes, ...]
    """Raw transactions that are in no block any more, in their order, the open block's included; no deposits. The
    first UNWOUND_TRANSACTIONS_MAX of them."""


class SubBlockDecided(msgspec.Struct, frozen=True, kw_only=True):
    """A height was finalized."""

    height: Height
    slot: Slot
    sub_index: SubIndex
    time_ms: Milliseconds
    commitment: SubBlockCommitment
    app_hash: Hash32
    proposal: bytes
    proposal_hash: Hash32
    rollups: tuple[RollupEffect, ...]
    """Sorted by rollup id."""
    bundles: tuple[BundleDecided, ...]
    """In the order of the proposal."""
    sent: tuple[Relay, ...]
    """Messages that were sent to rollups of the sender's set, in order."""
    delivered: frozenset[Hash32]
    """Hashes of the messages that were delivered."""
    actions: tuple[SignedAction, ...]
    """Ledger actions that were applied, in order."""
    ledger_effects: tuple[object, ...]
    """What the economy's steps say happened, in order."""
    unwound: tuple[Unwound, ...]
    """Rollups that went back before this sub-block, ascending by id."""
    validator_updates: tuple[ValidatorUpdate, ...]
    """For the engine: changes of the validator set."""
    agreed: Agreed
    transactions: int
    senders: bytes
    """20 bytes per transaction in the order of the proposal's items, those of bundles and relays included: what the log
    keeps so that replay needs no recovery."""


class Finalized(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `finalize`: the hash that the next proposal must name, and what happened."""

    app_hash: Hash32
    effect: SubBlockDecided
