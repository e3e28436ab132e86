"""The registry at a sub-block's slot: rollups that join, change and leave when it begins.

Level 4, pure.
"""

from typing import NamedTuple, Protocol

import msgspec

from plait.errors import InvariantBroken
from plait.execution.candidate import AttributesSource
from plait.ledger import joining, registry
from plait.ledger.rollup_records import RollupEntry, rollup_key
from plait.ledger.state import LedgerState, RollupRecord, anchored_record
from plait.native import Attributes, Rollup, Store
from plait.protocol.grid import block_timestamp_s, blocks_per_sub_block
from plait.protocol.l1_blocks import bound_blocks, open_attributes
from plait.types import BlockNumber, Hash32, Milliseconds, RollupId, Slot


class RollupSource(AttributesSource, Protocol):
    """What a network's rollups are made of: the same pure function on every node."""

    def genesis_json(self, entry: RollupEntry) -> bytes:
        """op-geth's genesis JSON of a rollup that was registered, or that existed and joined."""
        ...

    def existing(self, entry: RollupEntry, store: Store, /) -> Rollup:
        """A chain that existed, at the anchor with which it joins.

        Raises:
            InvariantBroken: `rollup_import_missing`: this node does not have it.
        """
        ...


class Departure(NamedTuple):
    """A rollup that left, with its last block."""

    rollup_id: RollupId
    head_number: BlockNumber
    head_hash: Hash32
    may_lag: bool = False
    """Whether it derives from an L1, and so may leave before its last block was opened."""


class Registry(NamedTuple):
    """The rollups of a slot."""

    records: tuple[RollupRecord, ...]
    """Ascending by id; those that leave at this slot included."""
    leaving: tuple[RollupId, ...]


def registry_at(ledger: LedgerState, slot: Slot) -> Registry:
    """The registry of a slot, from that of the committed ledger."""
    if slot == ledger.slot:
        return Registry(ledger.rollups, ())
    due = registry.due(ledger.economy, slot)
    unready = joining.unready(ledger.economy, ledger.l1, slot)
    if not due.joins and not due.leaves and not due.updates:
        return Registry(ledger.rollups, ())
    records = {record.rollup_id: record for record in ledger.rollups}
    for entry in due.joins:
        if entry.rollup_id in unready:
            continue
        if entry.joining is not None and entry.joining.anchor is not None:
            records[entry.rollup_id] = anchored_record(entry.parameters, entry.joining.anchor)
            continue
        changed = entry.update is not None and entry.update.slot <= slot
        records[entry.rollup_id] = RollupRecord(
            parameters=entry.update.parameters if changed and entry.update is not None else entry.parameters,
            head_number=BlockNumber(0),
            head_hash=entry.parameters.genesis_hash,
            open_block=None,
        )
    for parameters in due.updates:
        before = records[parameters.rollup_id]
        records[parameters.rollup_id] = msgspec.structs.replace(before, parameters=parameters)
    leaving = tuple(sorted(entry.rollup_id for entry in due.leaves))
    return Registry(tuple(records[rollup_id] for rollup_id in sorted(records)), leaving)


class Opened(NamedTuple):
    """What the rollups of a slot open on the way to it."""

    work: dict[RollupId, list[Attributes]]
    records: tuple[RollupRecord, ...]
    """Those of the registry, with what opening changed in them."""
    closed: frozenset[RollupId]
    """Rollups that take no transactions: those that are behind the slot, and by `plait.protocol.l1_blocks`."""
    stuck: frozenset[RollupId]
    """Those of them for which the agreement about the L1 does not wait."""


def blocks_opened(
    ledger: LedgerState, found: Registry, slot: Slot, time_ms: Milliseconds, source: AttributesSource
) -> Opened:
    """What every rollup opens on the way to a slot.

    Args:
        ledger: committed, gone back where it had to.
        found: the registry of the slot.
        slot: of the sub-block.
        time_ms: agreed time of the sub-block.
        source: of rollups that derive from no L1.
    """
    work: dict[RollupId, list[Attributes]] = {}
    records: list[RollupRecord] = []
    closed: set[RollupId] = set()
    stuck: set[RollupId] = set()
    bound = sum(bool(record.epochs) for record in ledger.rollups)
    most_bound, most = blocks_per_sub_block(bound), blocks_per_sub_block(len(ledger.rollups) - bound)
    for record in found.records:
        rollup_id = record.rollup_id
        config = None if ledger.l1 is None else ledger.l1.binding(rollup_id)
        if config is None or ledger.l1 is None:
            attributes, behind = blocks_due(ledger, record, slot, source, most)
            records.append(record)
            if behind:
                closed.add(rollup_id)
        else:
            target = min(slot, _last_slot(ledger, record, slot))
            found_blocks = bound_blocks(ledger, record, config, target, time_ms, blocks_max=most_bound)
            attributes = found_blocks.attributes
            records.append(found_blocks.record)
            if found_blocks.closed:
                closed.add(rollup_id)
            if found_blocks.stuck:
                stuck.add(rollup_id)
        if attributes:
            work[rollup_id] = attributes
    return Opened(work, tuple(records), frozenset(closed), frozenset(stuck))


def _last_slot(ledger: LedgerState, record: RollupRecord, slot: Slot) -> Slot:
    """The slot up to which a rollup opens blocks; a leaving one opens none after its last."""
    entry = ledger.economy.rollups.get(rollup_key(record.rollup_id))
    if entry is None or not entry.leaves:
        return slot
    return record.parameters.last_slot(registry.last_block(entry))


def blocks_due(
    ledger: LedgerState, record: RollupRecord, slot: Slot, source: AttributesSource, blocks_max: int
) -> tuple[list[Attributes], bool]:
    """Attributes of the blocks that a rollup opens on the way to a slot, ascending; a leaving one opens none after its
    last. And whether it stays behind the slot."""
    entry = ledger.economy.rollups.get(rollup_key(record.rollup_id))
    target = record.parameters.block_at(slot)
    if entry is not None and entry.leaves:
        target = min(target, registry.last_block(entry))
    last = min(target, record.newest_number + blocks_max)
    attributes = [
        attributes_of(ledger, record, BlockNumber(number), source)
        for number in range(record.newest_number + 1, last + 1)
    ]
    return attributes, last < target


def attributes_of(
    ledger: LedgerState, record: RollupRecord, number: BlockNumber, source: AttributesSource
) -> Attributes:
    """Attributes of one block; of a rollup that derives from the L1 only its newest one's.

    One that begins before a scheduled change has the parameters from before it.

    Args:
        ledger: committed; whatever its registry has scheduled counts.
        record: of the rollup, with the parameters of the slot that is being entered.
        number: of the block.
        source: of the network.
    """
    config = None if ledger.l1 is None else ledger.l1.binding(record.rollup_id)
    if config is not None and ledger.l1 is not None:
        found = open_attributes(ledger, record, config, ledger.l1)
        if found is None or number != record.newest_number:
            raise InvariantBroken(
                f"the origin of block {number} of rollup {record.rollup_id} is not among the agreed L1 blocks",
                code="l1_origin_lost",
                rollup_id=record.rollup_id,
            )
        return found
    parameters = record.parameters
    entry = ledger.economy.rollups.get(rollup_key(record.rollup_id))
    timestamp_s = block_timestamp_s(ledger.parameters, parameters, number)
    if entry is None:
        return source.attributes(parameters, number, timestamp_s)
    if entry.update is not None and parameters.first_slot(number) < entry.update.slot:
        parameters = entry.parameters
    fork = None if entry.genesis is None else entry.genesis.fork
    return source.attributes(parameters, number, timestamp_s, fork=fork)
