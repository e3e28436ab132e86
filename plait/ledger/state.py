"""The replicated state of the network itself: where it stands on the grid, and every rollup with its head.

A `LedgerState` is immutable. Its canonical bytes are RLP; its root is the RFC 6962 tree hash over one leaf for the
network and the clock, one for the economy (its own tree's root) and one leaf per rollup sorted by id, so that a
single rollup's head is provable against it.
Rollup execution state is not in the ledger: its sealed block hashes and the measures of its open block are.

Level 3, pure.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import msgspec

from plait.crypto.open_digest import OPEN_DIGEST_EMPTY
from plait.derivation.anchor import Anchor
from plait.errors import ConfigurationError
from plait.ledger import registry
from plait.ledger.economy import Economy, empty_economy
from plait.ledger.l1 import Epoch, L1State
from plait.ledger.parameters import LedgerParameters
from plait.ledger.rollup_records import NetworkMode, rollup_key
from plait.limits import INTEROP_CHAINS_MAX, ROLLUPS_MAX
from plait.types import (
    Address,
    BlockNumber,
    Gas,
    Hash32,
    Height,
    Milliseconds,
    NetworkParameters,
    RollupId,
    RollupParameters,
    Slot,
    SubIndex,
)

NOBODY: Final = Address(bytes(20))
"""Owner of rollups that have none."""


class OpenBlockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Measures of a rollup's open block; equal on every honest node after the same sub-blocks."""

    number: BlockNumber
    gas_used: Gas
    da_footprint: Gas
    transaction_count: int
    """Deposits included."""
    digest: Hash32 = OPEN_DIGEST_EMPTY
    """Of its transactions but the deposits (`plait.crypto.open_digest`)."""


class RollupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup of the registry."""

    parameters: RollupParameters
    head_number: BlockNumber
    """Last sealed block; genesis is 0."""
    head_hash: Hash32
    open_block: OpenBlockRecord | None
    """None before the rollup's first block time has passed, and for one that waits for its L1."""
    epochs: tuple[Epoch, ...] = ()
    """The newest epochs of a rollup that derives from an L1, its anchor's first; empty for others."""

    @property
    def rollup_id(self) -> RollupId:
        """Identity, equal to the chain id."""
        return self.parameters.rollup_id

    @property
    def newest_number(self) -> BlockNumber:
        """Number of the open block, or of genesis before there is one."""
        return self.head_number if self.open_block is None else self.open_block.number


class LedgerState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that consensus remembers besides the rollups' own execution state."""

    parameters: NetworkParameters
    height: Height
    slot: Slot
    sub_index: SubIndex
    time_ms: Milliseconds
    rollups: tuple[RollupRecord, ...]
    """Strictly ascending by rollup id."""
    economy: Economy
    """Accounts, stake, governance and the registry's terms."""
    l1: L1State | None = None
    """What is agreed about the L1; None for a network whose L1 is synthetic."""

    @property
    def rollup_ids(self) -> tuple[RollupId, ...]:
        """Ids of all active rollups, ascending."""
        return tuple(record.parameters.rollup_id for record in self.rollups)


def check_interop_sets(rollups: Iterable[RollupParameters]) -> None:
    """Raises ConfigurationError `interop_set_too_large` when more than INTEROP_CHAINS_MAX rollups share a set."""
    sizes = Counter(rollup.interop_set for rollup in rollups)
    for number, size in sorted(sizes.items()):
        if number and size > INTEROP_CHAINS_MAX:
            raise ConfigurationError(
                f"interop set {number} has {size} rollups, at most {INTEROP_CHAINS_MAX} may share one",
                code="interop_set_too_large",
                interop_set=number,
            )


def genesis_state(
    parameters: NetworkParameters,
    rollups: tuple[RollupParameters, ...],
    economy: Economy | None = None,
    l1: L1State | None = None,
    anchors: Mapping[RollupId, Anchor] = MappingProxyType({}),
) -> LedgerState:
    """State before the first height: slot 0, sub-index 0, every rollup at its genesis block.

    Args:
        parameters: of the network.
        rollups: of its genesis, at most ROLLUPS_MAX.
        economy: at genesis; None for one without tokens. A rollup that its registry does not have is entered without
            an owner and without fees.
        l1: at genesis, for a network with rollups that derive from an L1.
        anchors: of those among them that existed before: the blocks that they go on from.

    Raises:
        ConfigurationError: a parameter is out of range, no rollup or more than ROLLUPS_MAX, or an id twice.
    """
    parameters.check()
    if not 1 <= len(rollups) <= ROLLUPS_MAX:
        raise ConfigurationError(f"a network has 1 to {ROLLUPS_MAX} rollups, not {len(rollups)}", code="rollup_count")
    ordered = sorted(rollups, key=lambda rollup: rollup.rollup_id)
    for before, after in pairwise(ordered):
        if before.rollup_id == after.rollup_id:
            raise ConfigurationError(f"rollup id {after.rollup_id} is given twice", code="rollup_duplicate")
    for rollup in ordered:
        rollup.check(parameters)
    check_interop_sets(ordered)
    begun = economy if economy is not None else empty_economy(NetworkMode.MARKETPLACE, LedgerParameters())
    entered = {
        rollup_key(rollup.rollup_id): registry.genesis_entry(rollup, NOBODY, terms=registry.FREE_TERMS)
        for rollup in ordered
        if begun.rollups.get(rollup_key(rollup.rollup_id)) is None
    }
    return LedgerState(
        parameters=parameters,
        economy=msgspec.structs.replace(begun, rollups=begun.rollups.with_changes(entered)),
        height=Height(0),
        slot=Slot(0),
        sub_index=SubIndex(0),
        time_ms=Milliseconds(parameters.genesis_time_s * 1_000),
        rollups=tuple(_first_record(rollup, l1, anchors.get(rollup.rollup_id)) for rollup in ordered),
        l1=l1,
    )


def anchored_record(rollup: RollupParameters, anchor: Anchor) -> RollupRecord:
    """The first record of a chain that existed before."""
    first = BlockNumber(max(0, anchor.block.number - anchor.sequence_number))
    return RollupRecord(
        parameters=rollup,
        head_number=rollup.anchor_number,
        head_hash=anchor.block.hash,
        open_block=None,
        epochs=(Epoch(first_block=first, origin=anchor.origin, system=anchor.system),),
    )


def _first_record(rollup: RollupParameters, l1: L1State | None, anchor: Anchor | None) -> RollupRecord:
    if anchor is not None:
        return anchored_record(rollup, anchor)
    config = None if l1 is None else l1.binding(rollup.rollup_id)
    epochs: tuple[Epoch, ...] = ()
    if config is not None:
        epochs = (Epoch(first_block=BlockNumber(0), origin=config.genesis_l1, system=config.genesis_system),)
    return RollupRecord(
        parameters=rollup,
        head_number=rollup.anchor_number,
        head_hash=rollup.genesis_hash,
        open_block=None,
        epochs=epochs,
    )
