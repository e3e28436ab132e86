"""Where following of a rollup begins: at a final block noted before, or at the oldest blocks that a node holds. Pure.

A node that came from a snapshot does not hold a rollup's first blocks, so it cannot compare them with what L1 derives.
Its oldest block A restates the system configuration at its origin, and that origin is where reading of L1 begins; the
first block whose origin lies a channel's lifetime later is the head that following goes on from. Such blocks are days
old; that they derive was agreed on before the snapshot was made.
"""

from typing import Any, Protocol

import msgspec

from plait.derivation.batch_rules import Head
from plait.derivation.l1_info import decode_l1_attributes
from plait.derivation.rollup_config import CHANNEL_TIMEOUT_GRANITE, OpStackConfig
from plait.derivation.system_config import SystemConfig
from plait.rollups.batcher.blocks import BatchBlock, batch_block, extra_data, raw_transactions
from plait.types import BlockNumber, Hash32, Seconds


class HeldBlocks(Protocol):
    """A rollup's sealed blocks, from some number on."""

    @property
    def head(self) -> Any:
        """The last sealed block: `number`, `hash`."""

    def raw_block(self, at: int) -> bytes | None:
        """A sealed block as it is hashed; None when there is none."""

    def raw_header(self, at: int) -> bytes | None:
        """Its header."""


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """A block that is final, and where on L1 to read on from it."""

    head: Head
    system: SystemConfig
    """At its origin."""
    l1_number: BlockNumber
    l1_hash: Hash32
    l1_system: SystemConfig
    """At that L1 block."""


def head_of(block: BatchBlock) -> Head:
    """A block as derivation sees it."""
    batch = block.batch
    return Head(
        block.number,
        block.hash,
        Seconds(batch.timestamp),
        batch.epoch_number,
        batch.epoch_hash,
        block.sequence_number,
    )


def oldest_anchor(blocks: HeldBlocks, config: OpStackConfig) -> Anchor | None:
    """Where to begin with what is held; None at the rollup's genesis, or while too few blocks are held."""
    first = config.genesis_l2.number + 1
    if blocks.head.number < first or blocks.raw_header(first) is not None:
        return None
    low, high = first, int(blocks.head.number)  # none is held below, all are from the head down to the answer
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if blocks.raw_header(middle) is not None else (middle + 1, high)
    oldest = blocks.raw_block(low)
    if oldest is None:
        return None
    start = batch_block(oldest)
    for number in range(low, blocks.head.number + 1):
        raw = blocks.raw_block(number)
        if raw is None:
            return None
        block = batch_block(raw)
        if block.batch.epoch_number > start.batch.epoch_number + CHANNEL_TIMEOUT_GRANITE:
            return Anchor(
                head=head_of(block),
                system=system_of(raw),
                l1_number=start.batch.epoch_number,
                l1_hash=start.batch.epoch_hash,
                l1_system=system_of(oldest),
            )
    return None


def system_of(raw: bytes) -> SystemConfig:
    """The system configuration that a block restates, in its first deposit and its header.

    A value of 0 that stands for a default is restated as the default; what follows from both is the same.
    """
    found, extra = decode_l1_attributes(raw_transactions(raw)[0]), extra_data(raw)
    return SystemConfig(
        batcher=found.batcher,
        gas_limit=batch_block(raw).gas_limit,
        base_fee_scalar=found.base_fee_scalar,
        blob_base_fee_scalar=found.blob_base_fee_scalar,
        eip1559_denominator=int.from_bytes(extra[1:5], "big"),
        eip1559_elasticity=int.from_bytes(extra[5:9], "big"),
        operator_fee_scalar=found.operator_fee_scalar,
        operator_fee_constant=found.operator_fee_constant,
        min_base_fee=int.from_bytes(extra[9:17], "big"),
        da_footprint_gas_scalar=found.da_footprint_gas_scalar,
    )
