"""A rollup of which only the block time and the start matter."""

from plait.types import Gas, Hash32, OrderingPolicy, RollupId, RollupParameters, Slot, Wei


def rollup(block_time_slots: int, start_slot: int = 0) -> RollupParameters:
    return RollupParameters(
        rollup_id=RollupId(901),
        genesis_hash=Hash32(bytes(32)),
        block_time_slots=block_time_slots,
        gas_limit=Gas(30_000_000),
        ordering=OrderingPolicy.ARRIVAL,
        da_footprint_gas_scalar=0,
        eip1559_denominator=250,
        eip1559_elasticity=6,
        min_base_fee=Wei(0),
        operator_fee_scalar=0,
        operator_fee_constant=0,
        base_fee_scalar=0,
        blob_base_fee_scalar=0,
        start_slot=Slot(start_slot),
    )
