"""The block of an existing OP Stack chain that a network goes on from. Pure.

anchor = [rollup configuration, number, hash, timestamp, origin number, origin hash, sequence number,
          system configuration]
"""

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.derivation.rollup_config import BlockId, OpStackConfig, decode_config, encode_config
from plait.derivation.system_config import SystemConfig, decode_system, encode_system
from plait.types import BlockNumber, Hash32, Seconds


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """The block of an existing chain that a network goes on from.

    Fields:
        config: how the chain hangs on its L1, as its own rollup.json says.
        block, timestamp: the anchor.
        origin, sequence_number: its L1 block, and its place among the blocks of that origin.
        system: the system configuration at that origin.
    """

    config: OpStackConfig
    block: BlockId
    timestamp: Seconds
    origin: BlockId
    sequence_number: int
    system: SystemConfig

    def encode(self) -> bytes:
        """Canonical RLP."""
        return encode_list(
            (
                encode_config(self.config),
                encode_uint(self.block.number),
                encode_bytes(self.block.hash),
                encode_uint(self.timestamp),
                encode_uint(self.origin.number),
                encode_bytes(self.origin.hash),
                encode_uint(self.sequence_number),
                encode_system(self.system),
            )
        )


def decode_anchor(data: bytes) -> Anchor:
    """The reverse of `Anchor.encode`.

    Raises:
        CodecError: not canonical or out of range.
    """
    outer = Reader(data, what="anchor")
    reader = outer.read_list("anchor")
    outer.end()
    config = decode_config(reader.read_list("rollup configuration"))
    block = BlockId(BlockNumber(reader.read_uint()), Hash32(reader.read_bytes(size=32)))
    timestamp = Seconds(reader.read_uint())
    origin = BlockId(BlockNumber(reader.read_uint()), Hash32(reader.read_bytes(size=32)))
    sequence_number = reader.read_uint()
    inner = reader.read_list("system configuration")
    system = decode_system(inner)
    inner.end()
    reader.end()
    return Anchor(
        config=config,
        block=block,
        timestamp=timestamp,
        origin=origin,
        sequence_number=sequence_number,
        system=system,
    )
