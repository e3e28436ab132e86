"""Parameters of a network and of its rollups: agreed by everyone, part of the ledger, never read from a local setting.

Level 0. Amounts are integers with their unit in the name; a parameter out of range is refused by `check`.
"""

from enum import StrEnum

import msgspec

from plait.errors import ConfigurationError
from plait.limits import BLOCK_TIME_SLOTS_MAX, SLOT_MS_MAX, SLOT_MS_MIN, SUB_BLOCKS_PER_SLOT_MAX
from plait.types.identifiers import BlockNumber, Hash32, NetworkId, RollupId, Slot
from plait.types.quantities import Gas, Milliseconds, Seconds, Wei

UINT32_MAX = 2**32 - 1
UINT64_MAX = 2**64 - 1


class OrderingPolicy(StrEnum):
    """How a rollup wants the transactions of one sub-block ordered; every validator re-checks it."""

    PRIORITY_FEE = "priority_fee"
    ARRIVAL = "arrival"


class NetworkParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What every node of a network agrees on from the start."""

    network_id: NetworkId
    genesis_time_s: Seconds
    """Unix time of slot 0; block 0 of every rollup has this timestamp."""
    slot_ms: Milliseconds
    sub_blocks_per_slot: int
    """Sub-blocks that an engine aims at per slot; a slot may hold fewer or more."""

    def check(self) -> None:
        """Raises ConfigurationError `network_parameter_out_of_range` when a value cannot be used."""
        ranges = (
            ("network_id", self.network_id, 1, UINT64_MAX),
            ("genesis_time_s", self.genesis_time_s, 1, UINT32_MAX),
            ("slot_ms", self.slot_ms, SLOT_MS_MIN, SLOT_MS_MAX),
            ("sub_blocks_per_slot", self.sub_blocks_per_slot, 1, SUB_BLOCKS_PER_SLOT_MAX),
        )
        _check_ranges(ranges, "network_parameter_out_of_range")


class RollupParameters(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup as registered in the ledger. Its chain id is its rollup id."""

    rollup_id: RollupId
    genesis_hash: Hash32
    block_time_slots: int
    gas_limit: Gas
    ordering: OrderingPolicy
    da_footprint_gas_scalar: int
    """Gas that one estimated byte of data availability counts for (Jovian); 0 means the protocol's default of 400."""
    eip1559_denominator: int
    eip1559_elasticity: int
    min_base_fee: Wei
    operator_fee_scalar: int
    operator_fee_constant: int
    base_fee_scalar: int
    """Weight of the L1 base fee in the L1 data fee (Ecotone), times 1e6."""
    blob_base_fee_scalar: int
    """Weight of the L1 blob base fee in the L1 data fee (Ecotone), times 1e6."""
    interop_set: int = 0
    """Rollups with the same number, not 0, execute each other's messages from genesis on; 0 belongs to no set."""
    start_slot: Slot = Slot(0)
    """Slot at which the rollup joined: its first block here, `anchor_number`, has the time at which this slot begins.
    A multiple of `block_time_slots`, so that all blocks of one block time open together."""
    anchor_number: BlockNumber = BlockNumber(0)
    """Number of the sealed block that the network goes on from; 0, the genesis, for all but chains that existed."""

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""
        return self.rollup_id

    def block_at(self, slot: Slot) -> BlockNumber:
        """Number of the block that is open during a slot; the anchor's, sealed already, when none is open yet."""
        return BlockNumber(self.anchor_number + (slot - self.start_slot) // self.block_time_slots)

    def first_slot(self, number: BlockNumber) -> Slot:
        """The slot in which a block opens."""
        return Slot(self.start_slot + (number - self.anchor_number) * self.block_time_slots)

    def last_slot(self, number: BlockNumber) -> Slot:
        """The last slot during which a block is open."""
        return Slot(self.first_slot(number) + self.block_time_slots - 1)

    def check(self, network: NetworkParameters) -> None:
        """Checks ranges and that every block's timestamp is a whole second.

        Raises:
            ConfigurationError: `rollup_parameter_out_of_range`, or `block_time_not_whole_seconds`.
        """
        ranges = (
            ("rollup_id", self.rollup_id, 1, UINT64_MAX),
            ("block_time_slots", self.block_time_slots, 1, BLOCK_TIME_SLOTS_MAX),
            ("gas_limit", self.gas_limit, 1_000_000, 2**53),
            ("da_footprint_gas_scalar", self.da_footprint_gas_scalar, 0, 2**16 - 1),
            ("eip1559_denominator", self.eip1559_denominator, 1, UINT32_MAX),
            ("eip1559_elasticity", self.eip1559_elasticity, 1, UINT32_MAX),
            ("min_base_fee", self.min_base_fee, 0, UINT64_MAX),
            ("operator_fee_scalar", self.operator_fee_scalar, 0, UINT32_MAX),
            ("operator_fee_constant", self.operator_fee_constant, 0, UINT64_MAX),
            ("base_fee_scalar", self.base_fee_scalar, 0, UINT32_MAX),
            ("blob_base_fee_scalar", self.blob_base_fee_scalar, 0, UINT32_MAX),
            ("interop_set", self.interop_set, 0, UINT32_MAX),
            ("start_slot", self.start_slot, 0, UINT64_MAX),
            ("anchor_number", self.anchor_number, 0, 2**53),
        )
        _check_ranges(ranges, "rollup_parameter_out_of_range", rollup_id=self.rollup_id)
        if self.start_slot % self.block_time_slots:
            raise ConfigurationError(
                f"rollup {self.rollup_id} starts at slot {self.start_slot}, which is not a multiple of its block time "
                f"of {self.block_time_slots} slots",
                code="rollup_parameter_out_of_range",
                rollup_id=self.rollup_id,
            )
        if len(self.genesis_hash) != 32:
            raise ConfigurationError("genesis_hash must be 32 bytes", code="rollup_parameter_out_of_range")
        if self.block_time_slots * network.slot_ms % 1_000:
            raise ConfigurationError(
                f"rollup {self.rollup_id}: {self.block_time_slots} slots of {network.slot_ms} ms are not whole "
                "seconds, which OP Stack timestamps need; choose another block time or slot length",
                code="block_time_not_whole_seconds",
                rollup_id=self.rollup_id,
            )


class L1Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The L1 block that a sub-block refers to: agreed data, carried by the proposal."""

    number: BlockNumber
    hash: Hash32


def _check_ranges(ranges: tuple[tuple[str, int, int, int], ...], code: str, **fields: int) -> None:
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise ConfigurationError(
                f"{name} is {value}; it must lie in {low} to {high}", code=code, parameter=name, value=value, **fields
            )
