"""What validators say of the L1, and what the network has agreed on about it. Level 0.

A report names the head that a reporter sees, digests of consecutive L1 blocks (`plait.derivation.l1_facts`), how far
each rollup is safe on L1, and blocks that L1 derives otherwise than this network decided them.
"""

import msgspec

from plait.types.identifiers import BlockNumber, Hash32, RollupId


class RollupSafe(msgspec.Struct, frozen=True):
    """How far L1 has fixed a rollup: every block up to this number derives from L1 with the network's hash."""

    rollup_id: RollupId
    number: BlockNumber


class RollupConflict(msgspec.Struct, frozen=True):
    """The first block of a rollup that derives from L1 with another hash than the network's."""

    rollup_id: RollupId
    number: BlockNumber
    hash: Hash32
    """Of the derived block."""


class L1Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one reporter sees of the L1, signed by its consensus key.

    Fields:
        public_key: Ed25519, 32 bytes.
        sequence: grows with every report of this key; an older one is worth nothing.
        head: newest L1 block that it has seen.
        first: number of the block that the first digest is of.
        digests: of consecutive blocks, 1 to L1_REPORT_BLOCKS_MAX, or none.
        safe, conflicts: strictly ascending by rollup.
    """

    public_key: bytes
    sequence: int
    head: BlockNumber
    first: BlockNumber
    digests: tuple[Hash32, ...]
    safe: tuple[RollupSafe, ...] = ()
    conflicts: tuple[RollupConflict, ...] = ()

    def digest_of(self, number: int) -> Hash32 | None:
        """What it says of a block; None for nothing."""
        index = number - self.first
        return self.digests[index] if 0 <= index < len(self.digests) else None
