"""Rebuilds a rollup from L1 alone: L1 node in, sealed blocks out.

    genesis file + rollup.json + L1 (+ beacon node for blobs) -> every block that the batches on L1 say

Nobody else is asked. Reading, fetching blobs and executing overlap; executing runs in a thread. What does not count on
L1 is passed over as the protocol says, and reported.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.pipeline import Notice, Pipeline
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.errors import InvalidInput, Unavailable
from plait.l1.beacon import BeaconClient
from plait.l1.client import L1Client, Tag
from plait.limits import DERIVATION_NOTICES_SHOWN_MAX
from plait.native import Rollup
from plait.rollups.opstack.l1_reading import L1Reading, ReadBlock
from plait.rollups.opstack.rebuilding import Rebuilder, RebuiltBlock
from plait.types import BlockNumber, Hash32, RollupId, Seconds


class ReplacedBlock(msgspec.Struct, frozen=True):
    """A block that holds its deposits only, because its batch's transactions cannot be applied."""

    number: BlockNumber
    hash: Hash32
    problem: str


class Derived(msgspec.Struct, kw_only=True):
    """How far a derivation came."""

    head: BlockId
    head_time_s: Seconds
    l1: BlockId
    """L1 block that was read last."""
    blocks: int = 0
    transactions: int = 0
    empty_epochs_blocks: int = 0
    """Blocks without a batch, of epochs whose sequencing window passed."""
    replaced: list[ReplacedBlock] = msgspec.field(default_factory=list)
    notices: list[Notice] = msgspec.field(default_factory=list)
    """The first DERIVATION_NOTICES_SHOWN_MAX things on L1 that do not count."""
    notice_counts: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0


class Derivation:
    """One rollup's way from genesis to the end of its L1."""

    def __init__(self, config: OpStackConfig, rollup: Rollup, reading: L1Reading, genesis_l1: L1BlockFacts) -> None:
        """A derivation that stands at the genesis block.

        Raises:
            InvalidInput: `l1_reorganised`: L1 and configuration do not belong together.
            ConfigurationError: `rollup_config_invalid`: genesis and configuration do not.
        """
        self.config = config
        self.rollup = rollup
        self._reading = reading
        self._pipeline = Pipeline.from_genesis(config, RollupId(config.chain_id), genesis_l1)
        self._rebuilder = Rebuilder(config, rollup, self._pipeline)
        self.found = Derived(
            head=config.genesis_l2,
            head_time_s=config.genesis_time_s,
            l1=BlockId(genesis_l1.number, genesis_l1.hash),
        )

    async def run(
        self, last: BlockNumber, *, number_max: int | None = None, on_step: Callable[[Derived], None] | None = None
    ) -> Derived:
        """Derives from every L1 block up to `last`, or until block `number_max` is there.

        Args:
            last: L1 block to read last.
            number_max: greatest rollup block that is wanted.
            on_step: called after each L1 block.

        Raises:
            Unavailable, L1Refused: of L1; what was derived until then stays.
        """
        begun = time.monotonic()
        try:
            async for block in self._reading.blocks(BlockNumber(self._pipeline.origin.number + 1), last):
                await self._step(block, number_max)
                if on_step is not None:
                    on_step(self.found)
                if number_max is not None and self.found.head.number >= number_max:
                    break
        finally:
            self.found.seconds += time.monotonic() - begun
        return self.found

    async def _step(self, block: ReadBlock, number_max: int | None) -> None:
        pipeline, found = self._pipeline, self.found
        pipeline.advance(block.facts)
        found.l1 = BlockId(block.facts.number, block.facts.hash)
        data, errors = await self._reading.data_of(block, pipeline.batcher) if block.to_inbox else ([], [])
        for error in errors:
            self._note(Notice(block.facts.number, error.code, error.message))
        if block.malformed_deposits:
            message = f"{block.malformed_deposits} logs of the deposit contract are no deposits"
            self._note(Notice(block.facts.number, "deposit_malformed", message))
        for one in data:
            pipeline.add(one)
        if data or block.facts.number >= self._window_end:
            await asyncio.to_thread(self._rebuilder.take, number_max=number_max, on_block=self._count)
            head = pipeline.head
            assert head.hash is not None
            found.head, found.head_time_s = BlockId(head.number, head.hash), head.timestamp
        for notice in pipeline.take_notices():
            self._note(notice)

    @property
    def _window_end(self) -> int:
        """L1 block from which on blocks may follow without any data: the current epoch's window ends there."""
        return self._pipeline.head.origin_number + self.config.seq_window_blocks

    def _count(self, block: RebuiltBlock) -> None:
        found = self.found
        found.blocks += 1
        found.transactions += block.transactions
        found.empty_epochs_blocks += block.derived.cause == "window"
        if block.problem:
            found.replaced.append(ReplacedBlock(block.derived.number, block.hash, block.problem))

    def _note(self, notice: Notice) -> None:
        self.found.notice_counts[notice.code] += 1
        if len(self.found.notices) < DERIVATION_NOTICES_SHOWN_MAX:
            self.found.notices.append(notice)


async def begin(config: OpStackConfig, rollup: Rollup, client: L1Client, beacon: BeaconClient | None) -> Derivation:
    """A derivation of a rollup that is at its genesis block.

    Raises:
        ConfigurationError: `l1_chain_mismatch`, `rollup_config_invalid`.
        InvalidInput: `l1_reorganised`: the L1 has another block where the rollup begins.
        Unavailable: the L1 node is not reached, or does not have that block.
    """
    reading = L1Reading(client, beacon, config)
    await reading.check_chain()
    number = config.genesis_l1.number
    async for block in reading.blocks(number, number):
        return Derivation(config, rollup, reading, block.facts)
    raise Unavailable(
        f"The L1 node at {client.address} does not have block {number}, where the rollup begins; wait until it has "
        "synchronised, or use another.",
        code="l1_block_unknown",
    )


async def l1_end(client: L1Client, at: Tag | int) -> BlockNumber:
    """Number of the L1 block that a derivation ends with.

    Raises:
        InvalidInput: `l1_block_unknown` when the node has no such block yet.
    """
    header = await client.header(at)
    if header is None:
        raise InvalidInput(f"The L1 node at {client.address} has no block {at} yet.", code="l1_block_unknown")
    return header.number
