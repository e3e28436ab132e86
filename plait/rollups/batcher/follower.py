"""One rollup as L1 has it: derivation step by step, compared with the blocks that this node holds.

    derived block = ours      it is `posted` with the L1 block that decided it; `safe` and `finalized` when that one is
    derived block =/= ours    a conflict: derivation will replace our unsafe block, and all after it
    we have no such block     the follower waits: this node is behind, or the network stood still

A conflict ends the following until our chain changes there. Its hash is of the derived block, executed on our state, so
that every node names the same one.

What L1 made final is an `Anchor`: following goes on from there after a restart or a reorganisation. Blocks after it are
derived anew, from L1 blocks that the reader mostly still holds.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import msgspec

from plait.derivation.attributes import DEPOSIT_TYPE, l1_attributes_deposit
from plait.derivation.batch_rules import Head
from plait.derivation.pipeline import DerivedBlock, Notice, Pipeline
from plait.derivation.rollup_config import CHANNEL_TIMEOUT_GRANITE, OpStackConfig
from plait.derivation.system_config import SystemConfig, apply_update
from plait.errors import InvalidInput
from plait.limits import FOLLOWER_ANCESTORS_MAX, FOLLOWER_L1_BLOCKS_PER_STEP_MAX
from plait.native import NativeError, Transaction, decode_transactions, keccak256
from plait.rollups.batcher.anchors import Anchor, head_of, oldest_anchor
from plait.rollups.batcher.blocks import batch_block, raw_transactions
from plait.rollups.batcher.inbox import InboxReader
from plait.types import BlockNumber, Hash32, RollupId

TRANSACTION_BYTES_MAX: Final = 2**32 - 1
"""Derivation knows no bound of a transaction but its channel's."""


class OwnBlocks(Protocol):
    """A rollup's sealed blocks and a way to execute others on them; `plait.native.Rollup` has this shape."""

    @property
    def head(self) -> Any:
        """The last sealed block: `number`, `hash`."""

    def raw_block(self, at: int) -> bytes | None:
        """A sealed block as it is hashed; None when there is none."""

    def raw_header(self, at: int) -> bytes | None:
        """Its header."""

    def session_at(self, number: int) -> Any:
        """A session that goes on from a sealed block."""


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """L1 derives another block than ours."""

    rollup_id: RollupId
    number: BlockNumber
    derived_hash: Hash32 | None
    """None where our state before it is no longer kept, so that it cannot be executed."""
    our_hash: Hash32
    cause: Literal["window", "batch"]
    """The sequencing window passed without our batch, or a batch says something else."""
    inclusion_number: BlockNumber
    """L1 block that decided it."""


class Levels(msgspec.Struct, frozen=True):
    """The last block of a rollup that is on L1, by how firm L1 is about it. Block numbers."""

    posted: BlockNumber
    safe: BlockNumber
    finalized: BlockNumber


class Follower:
    """Follows one rollup. Methods belong to one task.

    Args:
        rollup_id: the rollup.
        config: how it hangs on L1.
        own: its blocks here.
        anchor: what is known to be final; None to begin at its genesis.
        on_notices: told what on L1 does not count.
    """

    def __init__(
        self,
        rollup_id: RollupId,
        config: OpStackConfig,
        own: OwnBlocks,
        *,
        anchor: Anchor | None = None,
        on_notices: Callable[[list[Notice]], None] = lambda _: None,
    ) -> None:
        self.rollup_id = rollup_id
        self.config = config
        self._own = own
        self.anchor = anchor
        self._on_notices = on_notices
        self._pipeline: Pipeline | None = None
        self._run: list[DerivedBlock] = []
        self._included: deque[tuple[int, Head, SystemConfig]] = deque()
        self._systems: deque[tuple[int, SystemConfig]] = deque()
        self._safe = self._finalized = self._start_number()
        self.conflict: Conflict | None = None
        self.restarts = 0

    # ------------------------------------------------------------ reads
    def levels(self) -> Levels:
        """How far L1 has the rollup."""
        head = self._start_number() if self._pipeline is None else self._pipeline.head.number
        return Levels(BlockNumber(head), BlockNumber(self._safe), BlockNumber(self._finalized))

    def origin_number(self) -> BlockNumber | None:
        """L1 block that was read last; None before any."""
        return None if self._pipeline is None else self._pipeline.origin.number

    def posted_head(self) -> Head | None:
        """The last block that derives from L1; None before any was derived."""
        return None if self._pipeline is None else self._pipeline.head

    def waits_for_us(self) -> bool:
        """Whether L1 decides a block that this node does not have."""
        return bool(self._run) and self.conflict is None

    # ------------------------------------------------------------ following
    async def step(self, reader: InboxReader) -> bool:
        """Reads on, at most FOLLOWER_L1_BLOCKS_PER_STEP_MAX L1 blocks.

        Returns:
            Whether there is more to read at once.

        Raises:
            Unavailable, L1Refused: as the reader.
        """
        pipeline = await self._current(reader)
        if pipeline is None:
            return False
        for _ in range(FOLLOWER_L1_BLOCKS_PER_STEP_MAX):
            if not await asyncio.to_thread(self._derive, pipeline):
                break
            following = await reader.block(pipeline.origin.number + 1)
            if following is None:
                break
            try:
                pipeline.advance(following.facts)
            except InvalidInput:  # reorganised between two answers: the next step begins again
                self._restart()
                return True
            for update in following.facts.of(self.rollup_id).updates:
                self._systems.append((following.facts.number, apply_update(self._systems[-1][1], update)))
            for data in following.datas(self.config.batch_inbox, pipeline.batcher):
                pipeline.add(data)
        else:
            return True
        self._settle_levels(reader)
        notices = pipeline.take_notices()
        if notices:
            self._on_notices(notices)
        return False

    def _derive(self, pipeline: Pipeline) -> bool:
        """Compares all that the L1 blocks so far decide; False when it must wait for our own chain."""
        while self.conflict is None:
            if not self._run:
                room = self._own.head.number - pipeline.head.number
                self._run = list(pipeline.next_run(max(1, min(512, room))))
            if not self._run:
                return True
            if self._run[-1].number > self._own.head.number or not self._take_run(pipeline):
                return False
        return False

    def _take_run(self, pipeline: Pipeline) -> bool:
        """Compares and settles a run of which we have every block; False when one of them is another."""
        hashes: list[Hash32] = []
        for block in self._run:
            ours = self._compared(block, hashes[-1] if hashes else pipeline.head.hash)
            if ours is None:
                break
            hashes.append(ours)
        whole = len(hashes) == len(self._run)
        if not whole and (self.conflict is None or not hashes):
            return False
        run, self._run = self._run, []
        taken = pipeline.settle(hashes)
        for block, hash_ in zip(run[:taken], hashes, strict=False):
            self._included.append((block.inclusion_number, block.head(hash_), block.system))
        return whole

    def _compared(self, block: DerivedBlock, parent_hash: Hash32 | None) -> Hash32 | None:
        """Our block's hash when L1 derives it; None, with a conflict, when it derives another one."""
        raw = self._own.raw_block(block.number)
        if raw is None:
            return None
        ours = batch_block(raw)
        deposits = [one for one in raw_transactions(raw) if one[:1] == DEPOSIT_TYPE]
        attributes = l1_attributes_deposit(block.origin.info, block.sequence_number, block.system, self.config.fork)
        expected = (parent_hash, block.timestamp, block.system.gas_limit, block.transactions)
        found = (ours.batch.parent_hash, ours.batch.timestamp, ours.gas_limit, ours.batch.transactions)
        if found == expected and deposits == [attributes, *block.deposits]:
            return ours.hash
        self.conflict = Conflict(
            rollup_id=self.rollup_id,
            number=block.number,
            derived_hash=self._executed(block),
            our_hash=ours.hash,
            cause=block.cause,
            inclusion_number=block.inclusion_number,
        )
        return None

    def _executed(self, block: DerivedBlock) -> Hash32 | None:
        """Hash of the derived block, executed on our state; None while that state is not kept."""
        try:
            return self._sealed(block, block.transactions) or self._sealed(block, ())
        except NativeError:
            return None

    def _sealed(self, block: DerivedBlock, raws: tuple[bytes, ...]) -> Hash32 | None:
        session = self._own.session_at(block.number - 1)
        session.open(block.attributes(self.config))
        decoded = decode_transactions(raws, self.config.chain_id, size_max=TRANSACTION_BYTES_MAX, unprotected=True)
        transactions = [one for one in decoded if isinstance(one, Transaction)]
        if len(transactions) != len(raws):
            return None
        if session.run(transactions, on_invalid="stop").included != len(raws):
            return None
        return Hash32(session.seal().hash)

    # ------------------------------------------------------------ levels
    def _settle_levels(self, reader: InboxReader) -> None:
        safe = finalized = None
        for number, head, _ in self._included:
            if number <= reader.safe:
                safe = head.number
            if number <= reader.finalized:
                finalized = head.number
        self._safe = BlockNumber(max(self._start_number(), safe or 0))
        self._finalized = BlockNumber(max(self._start_number(), finalized or 0))
        last: tuple[int, Head, SystemConfig] | None = None
        while self._included and self._included[0][0] <= reader.finalized:
            last = self._included.popleft()
        if last is not None:
            self._move_anchor(reader, last[1], last[2])

    def _move_anchor(self, reader: InboxReader, head: Head, system: SystemConfig) -> None:
        number = max(self.config.genesis_l1.number, head.origin_number - CHANNEL_TIMEOUT_GRANITE - 1)
        start = reader.held(number)
        if start is None:
            return  # kept for longer than what is read again; the anchor moves with a later block
        l1_system = self._system_at(number)
        self.anchor = Anchor(
            head=head,
            system=system,
            l1_number=BlockNumber(number),
            l1_hash=start.facts.hash,
            l1_system=l1_system,
        )
        while len(self._systems) > 1 and self._systems[1][0] <= number:
            self._systems.popleft()

    def _system_at(self, l1_number: int) -> SystemConfig:
        found = self._systems[0][1]
        for number, system in self._systems:
            if number <= l1_number:
                found = system
        return found

    def _start_number(self) -> BlockNumber:
        return self.config.genesis_l2.number if self.anchor is None else self.anchor.head.number

    # ------------------------------------------------------------ beginning
    async def _current(self, reader: InboxReader) -> Pipeline | None:
        """The pipeline, a new one when L1 or our chain is another than it was."""
        pipeline = self._pipeline
        if pipeline is not None:
            at = pipeline.origin
            held = reader.held(at.number)
            gone = at.number > reader.latest or (held is not None and held.facts.hash != at.hash)
            if held is None and not gone:
                now = await reader.block(at.number)
                gone = now is None or now.facts.hash != at.hash
            if not gone and self._has(pipeline.head.number, pipeline.head.hash) and self._conflict_stands():
                return pipeline
            self._restart()
        self._pipeline = await self._begin(reader)
        return self._pipeline

    def _conflict_stands(self) -> bool:
        conflict = self.conflict
        return conflict is None or self._has(conflict.number, conflict.our_hash)

    def _restart(self) -> None:
        self._pipeline = None
        self._run = []
        self._included.clear()
        self._systems.clear()
        self.conflict = None
        self.restarts += 1
        self._safe = self._finalized = self._start_number()

    async def _begin(self, reader: InboxReader) -> Pipeline | None:
        if self.anchor is not None:
            begun = await self._begin_at(reader, self.anchor)
            if begun is not None or self.anchor.l1_number > reader.latest:
                return begun
            self.anchor = None
        oldest = await asyncio.to_thread(oldest_anchor, self._own, self.config)
        if oldest is not None:
            self.anchor = oldest
            return await self._begin_at(reader, oldest)
        genesis = await reader.block(self.config.genesis_l1.number)
        if genesis is None:
            return None
        self._systems.append((genesis.facts.number, self.config.genesis_system))
        return Pipeline.from_genesis(self.config, self.rollup_id, genesis.facts)

    async def _begin_at(self, reader: InboxReader, anchor: Anchor) -> Pipeline | None:
        """Goes on from a block that is final; None when L1 or our chain is another, or L1 has not come so far."""
        start = await reader.block(anchor.l1_number)
        is_ours = self._has(anchor.head.number, anchor.head.hash)
        if start is None or start.facts.hash != anchor.l1_hash or not is_ours:
            return None
        self._systems.append((anchor.l1_number, anchor.l1_system))
        return Pipeline(
            self.config,
            self.rollup_id,
            head=anchor.head,
            system=anchor.system,
            l1=start.facts,
            l1_system=anchor.l1_system,
            ancestors=await asyncio.to_thread(self._ancestors, anchor.head),
        )

    def _ancestors(self, head: Head) -> list[Head]:
        lowest = max(self.config.genesis_l2.number + 1, head.number - FOLLOWER_ANCESTORS_MAX)
        found: list[Head] = []
        for number in range(lowest, head.number):
            raw = self._own.raw_block(number)
            if raw is None:
                found.clear()
                continue
            found.append(head_of(batch_block(raw)))
        return found

    def _has(self, number: BlockNumber, hash_: Hash32 | None) -> bool:
        header = self._own.raw_header(number)
        return header is not None and keccak256(header) == hash_
