"""Blocks of rollups that derive from the agreed L1: origins, deposits, system configuration, and when they wait.

    opened = bound_blocks(ledger, record, config, slot, time_ms, blocks_max=...)
        attributes   of the blocks that the rollup opens on the way to the slot
        record       with its epochs and, where L1 changed the system configuration, its parameters
        closed       whether it takes no transactions in this sub-block
        stuck        whether it will not go on whatever L1 blocks are agreed; agreement does not wait for such a rollup

A rollup opens a bounded number of blocks per sub-block, and no further one once their deposits
ask for more than L1_DEPOSITS_GAS_MAX: nobody can refuse deposits, so this bounds what a height costs. It waits, and is
behind the grid, when the next block's time is long past (`L1Terms.hold_s`) and the L1 blocks of that time are not
agreed yet: so a network that comes back after a pause fills what it missed with the origins that derivation gives those
blocks. It waits likewise when that time is later than its origin's by more than the sequencer drift, as a stock
sequencer does: so an origin never has more blocks than can be taken back. It also waits while its origin is no longer
in the agreed chain (it could not go back that far), and where L1 asks for what no block can hold (a gas limit other
than OP Stack contracts allow, deposits beyond it); then only its operators can help, and its open block is sealed. It
is closed while it waits or catches up, while its open block is too far ahead of its origin, and while it is going to go
back (`plait.ledger.l1_pauses`).

Level 4, pure.
"""

from typing import Final, NamedTuple

import msgspec

from plait.derivation.attributes import L1_ATTRIBUTES_GAS, block_attributes, deposit_gas
from plait.derivation.origins import Origin, deposits_only, next_origin
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import SystemConfig, apply_update
from plait.errors import CodecError
from plait.ledger.l1 import Epoch, L1State
from plait.ledger.state import LedgerState, RollupRecord
from plait.limits import L1_DEPOSITS_GAS_MAX, L1_EPOCHS_KEPT
from plait.native import Attributes
from plait.protocol.grid import block_timestamp_s
from plait.types import BlockNumber, Gas, Hash32, Milliseconds, RollupId, RollupParameters, Seconds, Slot, Wei

GAS_LIMIT_MIN: Final = Gas(21_000_000)
"""Deposits of one L1 block and the L1 attributes (OP Stack contracts: SystemConfig.minimumGasLimit)."""
GAS_LIMIT_MAX: Final = Gas(500_000_000)
"""The same contracts' maximumGasLimit."""


class BoundBlocks(NamedTuple):
    """What a rollup opens."""

    attributes: list[Attributes]
    record: RollupRecord
    closed: bool
    stuck: bool = False
    """Whether more L1 blocks would not help: its origin is lost, or the next one asks for what no block can hold."""


def bound_blocks(
    ledger: LedgerState,
    record: RollupRecord,
    config: OpStackConfig,
    slot: Slot,
    time_ms: Milliseconds,
    *,
    blocks_max: int,
) -> BoundBlocks:
    """The blocks that a rollup opens on the way to a slot.

    Args:
        ledger: committed; it has agreed L1 data.
        record: of the rollup; gone back already where it had to.
        config: how it derives.
        slot: of the sub-block.
        time_ms: agreed time of the sub-block.
        blocks_max: that it may open.
    """
    target = record.parameters.block_at(slot)
    newest = record.newest_number
    l1 = ledger.l1
    origin = None if l1 is None else _origin_of(record, newest, l1)
    if l1 is None or origin is None:
        return BoundBlocks([], record, closed=True, stuck=True)
    epochs = list(record.epochs)
    attributes: list[Attributes] = []
    stuck = False
    gas_left = L1_DEPOSITS_GAS_MAX
    for number in range(newest + 1, min(target, newest + blocks_max) + 1):
        timestamp_s = block_timestamp_s(ledger.parameters, record.parameters, BlockNumber(number))
        following = l1.block(origin.block.number + 1)
        late = time_ms - timestamp_s * 1_000 > l1.terms.hold_s * 1_000
        if following is None and (late or deposits_only(origin.block, timestamp_s)):
            break
        following_origin = next_origin(origin, following, timestamp_s)
        if following_origin.sequence_number == 0:
            epoch = _epoch(BlockNumber(number), following_origin, epochs[-1].system, config)
            gas = _deposits_gas(following_origin, epoch.system, config)
            stuck = gas is None
            if gas is None or gas > gas_left:
                break
            gas_left -= gas
            epochs.append(epoch)
        origin = following_origin
        newest = BlockNumber(number)
        attributes.append(_attributes(timestamp_s, origin, epochs[-1].system, config))
    if attributes:
        parameters = with_system(record.parameters, epochs[-1].system)
        record = msgspec.structs.replace(record, parameters=parameters, epochs=tuple(epochs[-L1_EPOCHS_KEPT:]))
    ahead = deposits_only(origin.block, block_timestamp_s(ledger.parameters, record.parameters, newest))
    pause = l1.pause(record.rollup_id)
    doomed = pause is not None and pause.waiting
    return BoundBlocks(attributes, record, closed=newest < target or ahead or doomed, stuck=stuck)


def open_attributes(ledger: LedgerState, record: RollupRecord, config: OpStackConfig, l1: L1State) -> Attributes | None:
    """Attributes of a rollup's block that is open now, as it was opened; None when its origin is not held any more."""
    number = record.newest_number
    origin = _origin_of(record, number, l1)
    if origin is None:
        return None
    timestamp_s = block_timestamp_s(ledger.parameters, record.parameters, number)
    return _attributes(timestamp_s, origin, record.epochs[-1].system, config)


def with_system(parameters: RollupParameters, system: SystemConfig) -> RollupParameters:
    """A rollup's parameters with what L1 says of them. A base fee rule of zeros is the chain's own: it stays."""
    own_rule = system.eip1559_denominator == 0
    return msgspec.structs.replace(
        parameters,
        gas_limit=system.gas_limit,
        da_footprint_gas_scalar=system.da_footprint_gas_scalar,
        eip1559_denominator=parameters.eip1559_denominator if own_rule else system.eip1559_denominator,
        eip1559_elasticity=parameters.eip1559_elasticity if own_rule else system.eip1559_elasticity,
        min_base_fee=Wei(system.min_base_fee),
        operator_fee_scalar=system.operator_fee_scalar,
        operator_fee_constant=system.operator_fee_constant,
        base_fee_scalar=system.base_fee_scalar,
        blob_base_fee_scalar=system.blob_base_fee_scalar,
    )


def can_go(record: RollupRecord, to_number: BlockNumber, l1: L1State) -> bool:
    """Whether every node can take a rollup back to a block, and the ledger knows the origin that it goes on from."""
    if record.epochs and record.epochs[0].first_block > to_number:
        return False
    return to_number >= l1.floor(record.rollup_id, record.head_number)


def gone_back(record: RollupRecord, to_number: BlockNumber, to_hash: Hash32) -> RollupRecord:
    """A rollup's record once its blocks after `to_number` are gone."""
    epochs = tuple(epoch for epoch in record.epochs if epoch.first_block <= to_number)
    parameters = with_system(record.parameters, epochs[-1].system) if epochs else record.parameters
    return msgspec.structs.replace(
        record,
        parameters=parameters,
        head_number=to_number,
        head_hash=to_hash,
        open_block=None,
        epochs=epochs,
    )


def _origin_of(record: RollupRecord, number: BlockNumber, l1: L1State) -> Origin | None:
    """Origin of a rollup's newest block; None when the agreed chain does not have it."""
    if not record.epochs:
        return None
    epoch = record.epochs[-1]
    block = l1.block(epoch.origin.number)
    if block is None or block.hash != epoch.origin.hash:
        return None
    return Origin(block, number - epoch.first_block)


def _deposits_gas(origin: Origin, system: SystemConfig, config: OpStackConfig) -> int | None:
    """Gas that the deposits of an origin ask for; None when no block can hold what L1 says: contracts that are not the
    OP Stack's may say anything."""
    said = origin.block.of(RollupId(config.chain_id))
    if said.oversized:
        return None
    try:
        gas = sum(map(deposit_gas, said.deposits))
    except CodecError:
        return None
    room = min(L1_DEPOSITS_GAS_MAX, system.gas_limit - L1_ATTRIBUTES_GAS)
    return gas if GAS_LIMIT_MIN <= system.gas_limit <= GAS_LIMIT_MAX and gas <= room else None


def _epoch(first_block: BlockNumber, origin: Origin, before: SystemConfig, config: OpStackConfig) -> Epoch:
    system = before
    for update in origin.block.of(RollupId(config.chain_id)).updates:
        system = apply_update(system, update)
    return Epoch(first_block=first_block, origin=BlockId(origin.block.number, origin.block.hash), system=system)


def _attributes(timestamp_s: Seconds, origin: Origin, system: SystemConfig, config: OpStackConfig) -> Attributes:
    deposits = origin.block.of(RollupId(config.chain_id)).deposits if origin.sequence_number == 0 else ()
    return block_attributes(
        timestamp_s, origin.block.info, origin.sequence_number, system, deposits=deposits, fork=config.fork
    )
