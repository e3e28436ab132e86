"""Where a driver reads our blocks: by number, from the decided state of one rollup.

A driver keeps no queue of blocks. The rollup's store holds every sealed block, so the driver only asks for what its
engine lacks; an engine that was away for a week costs no memory here. Level 5.
"""

from typing import Protocol

from plait.derivation.execution_payload import PayloadEnvelope
from plait.derivation.rollup_config import BlockId
from plait.native import NativeError, Rollup, keccak256
from plait.rollups.opstack.payload import read_payload
from plait.types import BlockNumber, ChainId, Hash32


class Blocks(Protocol):
    """The sealed blocks of one rollup, as decided now; an unwinding may replace the highest ones at any time."""

    @property
    def chain_id(self) -> ChainId:
        """Of the rollup."""

    @property
    def first(self) -> BlockId:
        """The lowest block that both sides must share: genesis, or where the rollup was taken over."""

    def head(self) -> BlockId:
        """The highest sealed block."""

    def hash_of(self, number: BlockNumber) -> Hash32 | None:
        """Hash of a sealed block; None below `first` and above the head."""

    def payload(self, number: BlockNumber) -> tuple[bytes, bytes] | None:
        """(ExecutionPayload JSON, parent beacon block root) of a sealed block; None when there is none."""


class NativeBlocks:
    """The blocks of a rollup of the native core."""

    def __init__(self, rollup: Rollup, first: BlockId | None = None) -> None:
        self._rollup = rollup
        self._first = first or BlockId(BlockNumber(0), Hash32(rollup.genesis_hash))

    @property
    def chain_id(self) -> ChainId:
        """Of the rollup."""
        return ChainId(self._rollup.chain_id)

    @property
    def first(self) -> BlockId:
        """Genesis, or the block that the rollup was taken over at."""
        return self._first

    def head(self) -> BlockId:
        """The highest sealed block."""
        head = self._rollup.head
        return BlockId(BlockNumber(head.number), Hash32(head.hash))

    def hash_of(self, number: BlockNumber) -> Hash32 | None:
        """Hash of a sealed block."""
        if number == self._first.number:
            return self._first.hash
        if number < self._first.number or number > self._rollup.head.number:
            return None
        header = self._rollup.raw_header(number)
        return None if header is None else Hash32(keccak256(header))

    def payload(self, number: BlockNumber) -> tuple[bytes, bytes] | None:
        """A sealed block as engine_newPayload takes it."""
        if number <= self._first.number or number > self._rollup.head.number:
            return None
        try:
            return self._rollup.execution_payload_json(number)
        except NativeError as error:
            if error.code == "block_unknown":
                return None
            raise


def envelope_of(blocks: Blocks, number: BlockNumber) -> PayloadEnvelope | None:
    """A sealed block, decoded and with its hash recomputed; None when there is none.

    Raises:
        CodecError: `payload_malformed`, `payload_hash_wrong`; the native core never gives such.
    """
    found = blocks.payload(number)
    return None if found is None else read_payload(*found)
