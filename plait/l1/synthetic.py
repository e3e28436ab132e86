"""A synthetic L1: a deterministic chain of block facts for rollups that settle nowhere. Pure.

Specification
    - Block i has timestamp genesis_time + 12 i (Ethereum's slot). Its hash is Keccak-256 over a domain, the network,
      the genesis time and i, so that two networks never share one; prev_randao and the beacon root derive from the
      hash.
    - Base fee 1 gwei and blob base fee 1 wei, always: a devnet's L1 fee is small, not zero, and predictable.
    - A rollup's block n takes as origin the newest L1 block that is not younger than it, but never one more than n:
      an origin advances by at most one L1 block per rollup block (OP Stack specs, derivation: L1 origin rules).
    - Its sequence number counts the rollup's blocks since the first one of that origin.
Imports: plait.types, plait.native (Keccak-256), the L1BlockInfo record.
"""

from typing import Final

import msgspec

from plait.derivation.attributes import L1BlockInfo
from plait.native import keccak256
from plait.types import BlockNumber, Hash32, Seconds, Wei

SYNTHETIC_BLOCK_TIME_S: Final = 12
SYNTHETIC_BASE_FEE_WEI: Final = Wei(1_000_000_000)
SYNTHETIC_BLOB_BASE_FEE_WEI: Final = Wei(1)

_DOMAIN_HASH: Final = b"plait/synthetic-l1/hash/1"
_DOMAIN_RANDAO: Final = b"plait/synthetic-l1/randao/1"
_DOMAIN_BEACON: Final = b"plait/synthetic-l1/beacon/1"


class SyntheticL1(msgspec.Struct, frozen=True):
    """The synthetic L1 of a network.

    Fields:
        genesis_time_s: timestamp of L1 block 0; the rollups' genesis blocks have the same.
        network_id: 0 to 2**64 - 1; part of every hash.
    """

    genesis_time_s: Seconds
    network_id: int

    def block(self, number: BlockNumber) -> L1BlockInfo:
        """Facts of L1 block `number`, 0 to 2**64 - 1."""
        identity = (
            self.network_id.to_bytes(8, "big") + self.genesis_time_s.to_bytes(8, "big") + number.to_bytes(8, "big")
        )
        block_hash = keccak256(_DOMAIN_HASH + identity)
        return L1BlockInfo(
            number=number,
            hash=Hash32(block_hash),
            timestamp=Seconds(self.genesis_time_s + SYNTHETIC_BLOCK_TIME_S * number),
            base_fee=SYNTHETIC_BASE_FEE_WEI,
            blob_base_fee=SYNTHETIC_BLOB_BASE_FEE_WEI,
            prev_randao=Hash32(keccak256(_DOMAIN_RANDAO + block_hash)),
            parent_beacon_block_root=Hash32(keccak256(_DOMAIN_BEACON + block_hash)),
        )

    def origin(
        self,
        rollup_block: BlockNumber,
        block_time_s: Seconds,
        start_s: Seconds = Seconds(0),  # noqa: B008 (a NewType)
    ) -> tuple[L1BlockInfo, int]:
        """L1 origin and sequence number of a rollup's block.

        Args:
            rollup_block: its number; its timestamp is genesis_time_s + start_s + rollup_block * block_time_s.
            block_time_s: at least 1.
            start_s: from the network's genesis to the rollup's.
        """
        number, sequence_number = origin_position(rollup_block, block_time_s, start_s)
        return self.block(number), sequence_number


def origin_position(
    rollup_block: BlockNumber,
    block_time_s: Seconds,
    start_s: Seconds = Seconds(0),  # noqa: B008 (a NewType)
) -> tuple[BlockNumber, int]:
    """Number of the L1 origin of a rollup's block, and its sequence number; the arithmetic of `SyntheticL1.origin`."""
    if block_time_s >= SYNTHETIC_BLOCK_TIME_S:
        return BlockNumber(start_s // SYNTHETIC_BLOCK_TIME_S + rollup_block), 0
    number = (start_s + rollup_block * block_time_s) // SYNTHETIC_BLOCK_TIME_S
    first_rollup_block = max(0, -(-(number * SYNTHETIC_BLOCK_TIME_S - start_s) // block_time_s))
    return BlockNumber(number), rollup_block - first_rollup_block
