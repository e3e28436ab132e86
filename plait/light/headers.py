"""CometBFT's block header and its hash.

    header hash = RFC 6962 tree hash over 14 leaves: the protobuf encodings of version, chain id, height, time,
                  last block id, last commit hash, data hash, validators hash, next validators hash, consensus hash,
                  app hash, last results hash, evidence hash, proposer address

A leaf that is a string, bytes or integer is wrapped (google.protobuf.StringValue, BytesValue, Int64Value) and empty
for the zero value. `app_hash` is the application's answer to the block *before* this one.

Source: CometBFT v0.38 spec/core/data_structures.md, types/block.go (Header.Hash). Pure.
"""

from functools import cached_property

import msgspec

from plait.errors import LightRefused
from plait.light.protobuf import bytes_field, message_field, timestamp, uint_field
from plait.limits import LIGHT_CHAIN_ID_BYTES_MAX
from plait.native import merkle_root
from plait.types import Hash32, Height

BLOCK_PROTOCOL = 11
"""CometBFT's version.BlockProtocol through all of v0.34 to v1."""
ADDRESS_BYTES = 20
HASH_BYTES = 32
INT64_MAX = 2**63 - 1


class BlockId(msgspec.Struct, frozen=True):
    """A block's hash, and count and hash of the parts that it is gossiped in; all empty for nil."""

    hash: bytes = b""
    parts_total: int = 0
    parts_hash: bytes = b""

    @property
    def is_nil(self) -> bool:
        """Whether it names no block."""
        return not self.hash and not self.parts_total and not self.parts_hash

    def encode(self) -> bytes:
        """tendermint.types.BlockID; CanonicalBlockID has the same encoding."""
        parts = uint_field(1, self.parts_total) + bytes_field(2, self.parts_hash)
        return bytes_field(1, self.hash) + message_field(2, parts)


class Header(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A CometBFT block's header. Times are nanoseconds since the Unix epoch."""

    block_version: int = BLOCK_PROTOCOL
    app_version: int = 0
    chain_id: str
    height: Height
    time_ns: int
    last_block_id: BlockId
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    last_results_hash: bytes
    evidence_hash: bytes
    proposer_address: bytes

    @cached_property
    def hash(self) -> Hash32:
        """Identity of the block."""
        leaves = [
            uint_field(1, self.block_version) + uint_field(2, self.app_version),
            bytes_field(1, self.chain_id.encode()),
            uint_field(1, self.height),
            timestamp(self.time_ns),
            self.last_block_id.encode(),
            bytes_field(1, self.last_commit_hash),
            bytes_field(1, self.data_hash),
            bytes_field(1, self.validators_hash),
            bytes_field(1, self.next_validators_hash),
            bytes_field(1, self.consensus_hash),
            bytes_field(1, self.app_hash),
            bytes_field(1, self.last_results_hash),
            bytes_field(1, self.evidence_hash),
            bytes_field(1, self.proposer_address),
        ]
        return Hash32(merkle_root(leaves))

    def check(self) -> None:
        """Raises LightRefused `light_block_malformed` when a field is outside what any block has."""
        _require("block version", self.block_version == BLOCK_PROTOCOL)
        _require("chain id", 0 < len(self.chain_id.encode()) <= LIGHT_CHAIN_ID_BYTES_MAX)
        _require("height", 0 < self.height <= INT64_MAX)
        _require("proposer address", len(self.proposer_address) == ADDRESS_BYTES)
        for name in ("validators_hash", "next_validators_hash", "consensus_hash"):
            _require(name.replace("_", " "), len(getattr(self, name)) == HASH_BYTES)
        for name in ("last_commit_hash", "data_hash", "last_results_hash", "evidence_hash"):
            _require(name.replace("_", " "), len(getattr(self, name)) in {0, HASH_BYTES})
        _check_block_id(self.last_block_id)


def _check_block_id(block_id: BlockId) -> None:
    _require("last block id", len(block_id.hash) in {0, HASH_BYTES} and len(block_id.parts_hash) in {0, HASH_BYTES})


def _require(field: str, condition: bool) -> None:
    if not condition:
        raise LightRefused(f"No block has such a {field}.", code="light_block_malformed", field=field)
