"""Canonical bytes and root of the ledger.

    ledger    = [version = 4, core, economy, [record, ...], l1]  records strictly ascending by rollup id; the economy as
                                                             a string, `plait.ledger.economy`
    l1        = [] | `plait.ledger.l1_encoding`
    core      = [network_id, genesis_time_s, slot_ms, sub_blocks_per_slot, height, slot, sub_index, time_ms]
    record    = [rollup_id, genesis_hash, block_time_slots, gas_limit, ordering, da_footprint_gas_scalar,
    eip1559_denominator,
                 eip1559_elasticity, min_base_fee, operator_fee_scalar, operator_fee_constant, base_fee_scalar,
                 blob_base_fee_scalar, interop_set, start_slot, anchor_number, head_number, head_hash, open,
                 [epoch, ...]]
    open      = [] | [number, gas_used, da_footprint, transaction_count, digest]
    ordering  = 0 priority_fee | 1 arrival
    root      = RFC 6962 tree hash over core, economy root, L1 leaf (empty without an L1), record, record, ...

Level 3, pure. Decoding checks everything that `genesis_state` checks, so decoded bytes are a usable state or a
CodecError.
"""

from plait.codec.rlp import EMPTY_LIST, Reader, encode_bytes, encode_list, encode_uint
from plait.errors import CodecError, ConfigurationError
from plait.ledger.economy import decode_economy, economy_root, encode_economy
from plait.ledger.l1_encoding import decode_epochs, decode_l1, encode_epoch, encode_l1, l1_leaf
from plait.ledger.rollup_records import ORDERINGS
from plait.ledger.state import LedgerState, OpenBlockRecord, RollupRecord, check_interop_sets
from plait.limits import ROLLUPS_MAX
from plait.native import merkle_root
from plait.types import (
    BlockNumber,
    Gas,
    Hash32,
    Height,
    Milliseconds,
    NetworkId,
    NetworkParameters,
    RollupId,
    RollupParameters,
    Seconds,
    Slot,
    SubIndex,
    Wei,
)

LEDGER_VERSION = 4


def encode_core(state: LedgerState) -> bytes:
    """Leaf 0 of the ledger tree: network parameters and position."""
    parameters = state.parameters
    values = (
        parameters.network_id,
        parameters.genesis_time_s,
        parameters.slot_ms,
        parameters.sub_blocks_per_slot,
        state.height,
        state.slot,
        state.sub_index,
        state.time_ms,
    )
    return encode_list(map(encode_uint, values))


def encode_record(record: RollupRecord) -> bytes:
    """A rollup's leaf of the ledger tree."""
    parameters = record.parameters
    block = record.open_block
    numbers_after = (
        parameters.da_footprint_gas_scalar,
        parameters.eip1559_denominator,
        parameters.eip1559_elasticity,
        parameters.min_base_fee,
        parameters.operator_fee_scalar,
        parameters.operator_fee_constant,
        parameters.base_fee_scalar,
        parameters.blob_base_fee_scalar,
        parameters.interop_set,
        parameters.start_slot,
        parameters.anchor_number,
        record.head_number,
    )
    opened = []
    if block is not None:
        numbers = (block.number, block.gas_used, block.da_footprint, block.transaction_count)
        opened = [*map(encode_uint, numbers), encode_bytes(block.digest)]
    return encode_list(
        (
            encode_uint(parameters.rollup_id),
            encode_bytes(parameters.genesis_hash),
            encode_uint(parameters.block_time_slots),
            encode_uint(parameters.gas_limit),
            encode_uint(ORDERINGS.index(parameters.ordering)),
            *map(encode_uint, numbers_after),
            encode_bytes(record.head_hash),
            encode_list(opened),
            encode_list(map(encode_epoch, record.epochs)),
        )
    )


def encode_ledger(state: LedgerState) -> bytes:
    """Canonical bytes of the whole ledger."""
    return encode_list(
        (
            encode_uint(LEDGER_VERSION),
            encode_core(state),
            encode_bytes(encode_economy(state.economy)),
            encode_list(map(encode_record, state.rollups)),
            EMPTY_LIST if state.l1 is None else encode_l1(state.l1),
        )
    )


def ledger_leaves(state: LedgerState) -> list[bytes]:
    """Leaves of the ledger tree: the core, the economy's root, the L1's leaf, then every record by ascending id."""
    l1 = b"" if state.l1 is None else l1_leaf(state.l1)
    return [encode_core(state), economy_root(state.economy), l1, *map(encode_record, state.rollups)]


def ledger_root(state: LedgerState) -> Hash32:
    """RFC 6962 tree hash over `ledger_leaves`."""
    return Hash32(merkle_root(ledger_leaves(state)))


def decode_ledger(data: bytes) -> LedgerState:
    """Reads canonical bytes.

    Raises:
        CodecError: not canonical, another version, out of range, or rollups not strictly ascending.
    """
    outer = Reader(data, what="ledger")
    reader = outer.read_list("ledger")
    outer.end()
    version = reader.read_uint(255)
    if version != LEDGER_VERSION:
        raise CodecError(f"ledger version {version} is not known here", code="codec_version_unknown", version=version)
    core = reader.read_list("ledger core")
    parameters = NetworkParameters(
        network_id=NetworkId(core.read_uint()),
        genesis_time_s=Seconds(core.read_uint()),
        slot_ms=Milliseconds(core.read_uint()),
        sub_blocks_per_slot=core.read_uint(),
    )
    height, slot, sub_index, time_ms = core.read_uint(), core.read_uint(), core.read_uint(), core.read_uint()
    core.end()
    economy = decode_economy(reader.read_bytes())
    listed = reader.read_list("rollup records")
    agreed = reader.read_list("agreed L1 data")
    l1 = decode_l1(agreed) if agreed.more else None
    reader.end()
    records: list[RollupRecord] = []
    try:
        parameters.check()
        while listed.more:
            if len(records) == ROLLUPS_MAX:
                raise CodecError(f"more than {ROLLUPS_MAX} rollups")
            record = _decode_record(listed.read_list("rollup record"))
            record.parameters.check(parameters)
            if records and records[-1].rollup_id >= record.rollup_id:
                raise CodecError("rollup records are not strictly ascending by id", rollup_id=record.rollup_id)
            records.append(record)
        check_interop_sets(record.parameters for record in records)
    except ConfigurationError as error:
        raise CodecError(f"the ledger holds an unusable parameter: {error.message}", **error.fields) from error
    if not records:
        raise CodecError("a ledger holds at least one rollup")
    return LedgerState(
        parameters=parameters,
        height=Height(height),
        slot=Slot(slot),
        sub_index=SubIndex(sub_index),
        time_ms=Milliseconds(time_ms),
        rollups=tuple(records),
        economy=economy,
        l1=l1,
    )


def _decode_record(reader: Reader) -> RollupRecord:
    rollup_id = RollupId(reader.read_uint())
    genesis_hash = Hash32(reader.read_bytes(size=32))
    block_time_slots = reader.read_uint()
    gas_limit = Gas(reader.read_uint())
    ordering = ORDERINGS[reader.read_uint(len(ORDERINGS) - 1)]
    parameters = RollupParameters(
        rollup_id=rollup_id,
        genesis_hash=genesis_hash,
        block_time_slots=block_time_slots,
        gas_limit=gas_limit,
        ordering=ordering,
        da_footprint_gas_scalar=reader.read_uint(),
        eip1559_denominator=reader.read_uint(),
        eip1559_elasticity=reader.read_uint(),
        min_base_fee=Wei(reader.read_uint()),
        operator_fee_scalar=reader.read_uint(),
        operator_fee_constant=reader.read_uint(),
        base_fee_scalar=reader.read_uint(),
        blob_base_fee_scalar=reader.read_uint(),
        interop_set=reader.read_uint(),
        start_slot=Slot(reader.read_uint()),
        anchor_number=BlockNumber(reader.read_uint(2**53)),
    )
    head_number = BlockNumber(reader.read_uint(2**53))
    head_hash = Hash32(reader.read_bytes(size=32))
    opened = reader.read_list("open block")
    epochs = decode_epochs(reader.read_list("epochs"))
    reader.end()
    block = None
    if opened.more:
        block = OpenBlockRecord(
            number=BlockNumber(opened.read_uint(2**53)),
            gas_used=Gas(opened.read_uint()),
            da_footprint=Gas(opened.read_uint()),
            transaction_count=opened.read_uint(),
            digest=Hash32(opened.read_bytes(size=32)),
        )
        opened.end()
        if block.number != head_number + 1:
            raise CodecError("an open block does not follow its head", rollup_id=rollup_id)
    return RollupRecord(
        parameters=parameters, head_number=head_number, head_hash=head_hash, open_block=block, epochs=epochs
    )
