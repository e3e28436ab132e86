"""Derivation: from L1 blocks and the batcher's data in them to the blocks of a rollup. Pure: no IO, clock or thread.

    L1 block -> frames -> channels -> batches -> blocks

Rules (Holocene's strict order; the rollup has Holocene from genesis)
    - L1 blocks come one after another; all that one makes derivable is taken before the next one comes.
    - Frames, channels and batches that cannot be read or do not count are passed over, with a notice that says why.
    - The first block of an epoch begins with the deposits of that L1 block; its system configuration is the parent's
      with the updates of that L1 block.
    - A block of which a transaction cannot be applied is replaced by one with its deposits only, and the rest of its
      channel is dropped.
    - An epoch of which the sequencing window passed without a block gets blocks without transactions: one at least, and
      more up to the next epoch's time.

Blocks are handed over in runs, so that whoever executes them need not come back after each one:

    advance(facts)       the next L1 block; `batcher` says whose transactions in it count
    add(data)            one transaction's or blob's data
    next_run(limit)      blocks that follow each other, empty when the next L1 block is needed
    settle(hashes, ...)  what became of the run: from here on they are the chain

A run may rest on what nobody computed yet: a singular batch names its parent's hash. Such a block has `parent_hash`;
when the executed parent has another one, whoever executes stops before it: `settle` then drops the rest of the
channel, as if the batch had been judged after its parent was executed. No run reaches beyond the channel it began in.

Source: OP Stack specs, derivation and Holocene derivation; op-node v1.16 for what the text leaves open.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from plait.derivation.attributes import block_attributes
from plait.derivation.batch_rules import Head, Validity, Verdict, View, blocks_after, check_singular, check_span
from plait.derivation.batches import SINGULAR_BATCH, SPAN_BATCH, SingularBatch, decode_singular
from plait.derivation.channel_reading import read_batches
from plait.derivation.channels import ChannelAssembler
from plait.derivation.frames import Frame, decode, prune
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.rollup_config import OpStackConfig
from plait.derivation.span_batches import SpanBatch, decode_raw, expand
from plait.derivation.system_config import SystemConfig, apply_update
from plait.errors import CodecError, InvalidInput
from plait.limits import DERIVATION_NOTICES_MAX, DERIVATION_RUN_BLOCKS_MAX
from plait.native import Attributes
from plait.types import Address, BlockNumber, Hash32, RollupId, Seconds


class DerivedBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A block as L1 says it."""

    number: BlockNumber
    timestamp: Seconds
    origin: L1BlockFacts
    sequence_number: int
    system: SystemConfig
    deposits: tuple[bytes, ...]
    """Of users, raw; those of the origin in its first block."""
    transactions: tuple[bytes, ...]
    parent_hash: Hash32 | None
    """What its batch says of its parent, when that was not executed yet; the block counts only if it is right."""
    inclusion_number: BlockNumber
    """L1 block that decided it."""
    cause: Literal["batch", "window"]

    def attributes(self, config: OpStackConfig) -> Attributes:
        """What opens the block."""
        return block_attributes(
            self.timestamp,
            self.origin.info,
            self.sequence_number,
            self.system,
            deposits=self.deposits,
            fork=config.fork,
        )

    def head(self, block_hash: Hash32 | None) -> Head:
        """The block, as the next one sees it."""
        return Head(self.number, block_hash, self.timestamp, self.origin.number, self.origin.hash, self.sequence_number)


class Notice(NamedTuple):
    """Something on L1 that does not count, and why."""

    l1_number: BlockNumber
    code: str
    message: str


class Pipeline:
    """Derives one rollup. See the module's text for the order of calls."""

    def __init__(
        self,
        config: OpStackConfig,
        rollup_id: RollupId,
        *,
        head: Head,
        system: SystemConfig,
        l1: L1BlockFacts,
        l1_system: SystemConfig,
        ancestors: Sequence[Head] = (),
    ) -> None:
        """Goes on from a safe block.

        Args:
            config: of the rollup.
            rollup_id: whose facts of an L1 block count.
            head: the safe block, executed.
            system: the system configuration at its origin.
            l1: the L1 block that reading begins with: no later than the head's origin, and early enough for a channel
                whose last frame comes after it (50 blocks).
            l1_system: the system configuration at that L1 block.
            ancestors: blocks before the head in their order without gaps, back to where a span batch may begin; none
                when the head is the genesis block.
        """
        self.config = config
        self._rollup_id = rollup_id
        self._head, self._system = head, system
        self._origin = l1
        self._l1_system = l1_system
        self._l1: dict[int, L1BlockFacts] = {l1.number: l1}
        self._epoch = int(l1.number)
        self._ancestors: dict[int, Head] = {one.number: one for one in (*ancestors, head)}
        self._ancestor_min, self._l1_min = min(self._ancestors), int(l1.number)
        self._frames: deque[Frame] = deque()
        self._assembler = ChannelAssembler()
        self._batches: Iterator[bytes] | None = None
        self._held: SpanBatch | None = None
        self._span: deque[SingularBatch] = deque()
        self._run: list[DerivedBlock] = []
        self._epoch_before = self._epoch
        self._notices: deque[Notice] = deque(maxlen=DERIVATION_NOTICES_MAX)

    @classmethod
    def from_genesis(cls, config: OpStackConfig, rollup_id: RollupId, genesis_l1: L1BlockFacts) -> "Pipeline":
        """Begins with the rollup's first block.

        Raises:
            InvalidInput: `l1_reorganised`: the L1 block is not the one that the configuration names.
        """
        if genesis_l1.hash != config.genesis_l1.hash or genesis_l1.number != config.genesis_l1.number:
            raise InvalidInput(
                f"L1 block {genesis_l1.number} is 0x{genesis_l1.hash.hex()}, but the rollup's configuration begins at "
                f"{config.genesis_l1.number} 0x{config.genesis_l1.hash.hex()}. Use the L1 that the rollup is on.",
                code="l1_reorganised",
            )
        head = Head(
            config.genesis_l2.number,
            config.genesis_l2.hash,
            config.genesis_time_s,
            config.genesis_l1.number,
            config.genesis_l1.hash,
            0,
        )
        system = config.genesis_system
        return cls(config, rollup_id, head=head, system=system, l1=genesis_l1, l1_system=system)

    # ------------------------------------------------------------ L1
    @property
    def batcher(self) -> Address:
        """Whose transactions to the inbox count in the current L1 block."""
        return self._l1_system.batcher

    @property
    def head(self) -> Head:
        """The last settled block."""
        return self._head

    @property
    def origin(self) -> L1BlockFacts:
        """The current L1 block."""
        return self._origin

    def take_notices(self) -> list[Notice]:
        """What did not count since the last call; at most DERIVATION_NOTICES_MAX, the latest."""
        notices = list(self._notices)
        self._notices.clear()
        return notices

    def advance(self, facts: L1BlockFacts) -> None:
        """Goes to the next L1 block. Only when `next_run` was empty.

        Raises:
            InvalidInput: `l1_reorganised`: it is not the child of the current one.
        """
        if facts.number != self._origin.number + 1 or facts.parent_hash != self._origin.hash:
            raise InvalidInput(
                f"L1 block {facts.number} does not follow {self._origin.number} 0x{self._origin.hash.hex()}: the L1 "
                "chain was reorganised; begin again from a block whose origin is still on it.",
                code="l1_reorganised",
            )
        self._origin = facts
        self._l1[facts.number] = facts
        for update in facts.of(self._rollup_id).updates:
            self._l1_system = apply_update(self._l1_system, update)

    def add(self, data: bytes) -> None:
        """Takes the data of one transaction or blob of the current L1 block, in the order they have there."""
        try:
            frames = decode(data)
        except CodecError as error:
            self._note(error.code, error.message)
            return
        kept = prune(frames)
        if len(kept) < len(frames):
            self._note("channel_out_of_order", f"{len(frames) - len(kept)} of {len(frames)} frames are out of order")
        self._frames.extend(kept)

    # ------------------------------------------------------------ blocks
    def next_run(self, limit: int = DERIVATION_RUN_BLOCKS_MAX) -> Sequence[DerivedBlock]:
        """Blocks that the L1 blocks so far decide, in order; none when the next L1 block is needed.

        Args:
            limit: blocks at most; at least 1.
        """
        self._epoch_before = self._epoch
        run: list[DerivedBlock] = []
        head, system = self._head, self._system
        while len(run) < limit:
            block = self._next_block(head, system, speculative=bool(run) and run[-1].cause == "batch")
            if block is None:
                break
            run.append(block)
            head, system = block.head(None), block.system
        self._run = run
        return run

    def settle(self, hashes: Sequence[Hash32], *, replaced: bool = False) -> int:
        """Takes what became of a run: its first blocks have these hashes, the others are not in the chain.

        Args:
            hashes: of executed blocks, at most as many as the run has.
            replaced: the last of them was replaced by its deposits only.

        Returns:
            How many of them count: fewer when one's parent is not the one that its batch names.
        """
        run, self._run = self._run, []
        count = len(hashes)
        for index in range(1, count):
            if run[index].parent_hash not in (None, hashes[index - 1]):
                count, replaced = index, False
                break
        for block, block_hash in zip(run[:count], hashes, strict=False):
            self._ancestors[block.number] = self._head = block.head(block_hash)
            self._system = block.system
        if count < len(run) or replaced:
            self._epoch = max(self._epoch_before, int(self._head.origin_number))
            block = run[count - 1] if replaced else run[count]
            problem = "a transaction cannot be applied" if replaced else "its batch names another parent"
            self._note("batch_dropped", f"block {block.number}: {problem}; the rest of its channel is dropped")
            self._flush()
        self._forget()
        return count

    def _next_block(self, parent: Head, system: SystemConfig, *, speculative: bool) -> DerivedBlock | None:
        """The block after `parent`, or None.

        Args:
            parent: the head, or a block of the run.
            system: the system configuration at its origin.
            speculative: `parent` came from a batch and is not executed: only the channel it came from may go on.
        """
        self._epoch = max(self._epoch, int(parent.origin_number))
        if self._origin.number <= parent.origin_number:
            # No batch in such an L1 block extends the chain; the frames of a channel that goes on are kept.
            while not speculative and self._next_batch(speculative=False) is not None:
                pass
            return None
        while True:
            candidate = self._next_candidate(parent, speculative=speculative)
            if candidate is None:
                return None if speculative else self._next_empty(parent, system)
            batch, of_span = candidate
            verdict = check_singular(self._view(), parent, batch, parent_checked=of_span)
            if verdict.validity is Validity.ACCEPT:
                assumed = batch.parent_hash if speculative and not of_span else None
                return self._block(parent, system, batch, assumed)
            self._note_verdict(verdict)
            if verdict.validity is Validity.DROP:
                self._flush()
                if speculative:
                    return None

    def _next_candidate(self, parent: Head, *, speculative: bool) -> tuple[SingularBatch, bool] | None:
        """The next block that a batch offers, and whether a span batch does."""
        if self._span:
            if self._span[0].timestamp == parent.timestamp + self.config.block_time_s:
                return self._span.popleft(), True
            self._span.clear()
        while True:
            batch = self._held if self._held is not None else self._next_batch(speculative=speculative)
            self._held = None
            if batch is None or isinstance(batch, SingularBatch):
                return None if batch is None else (batch, False)
            if speculative:  # a span batch is judged by its parent's hash
                self._held = batch
                return None
            verdict = check_span(self._view(), parent, batch, self._ancestors.get)
            if verdict.validity is Validity.ACCEPT:
                blocks = blocks_after(self._view(), parent, batch)
                if not isinstance(blocks, str):
                    self._span.extend(blocks)
                    return self._span.popleft(), True
                verdict = Verdict(Validity.DROP, blocks)
            self._note_verdict(verdict)
            if verdict.validity is Validity.DROP:
                self._flush()

    def _next_empty(self, parent: Head, system: SystemConfig) -> DerivedBlock | None:
        """A block without transactions, when the current epoch's sequencing window has passed."""
        if self._epoch + self.config.seq_window_blocks > self._origin.number:
            return None
        epoch, following = self._l1[self._epoch], self._l1[self._epoch + 1]
        timestamp = Seconds(parent.timestamp + self.config.block_time_s)
        if timestamp >= following.timestamp and epoch.number == parent.origin_number:
            self._epoch += 1  # full; the next L1 block lets the next epoch's window pass
            return None
        batch = SingularBatch(
            parent_hash=_UNKNOWN, epoch_number=epoch.number, epoch_hash=epoch.hash, timestamp=timestamp
        )
        return self._block(parent, system, batch, None, cause="window")

    def _block(
        self,
        parent: Head,
        system: SystemConfig,
        batch: SingularBatch,
        parent_hash: Hash32 | None,
        cause: Literal["batch", "window"] = "batch",
    ) -> DerivedBlock:
        origin = self._l1[batch.epoch_number]
        begins = batch.epoch_number != parent.origin_number
        deposits: tuple[bytes, ...] = ()
        if begins:
            facts = origin.of(self._rollup_id)
            deposits = facts.deposits
            for update in facts.updates:
                system = apply_update(system, update)
        return DerivedBlock(
            number=BlockNumber(parent.number + 1),
            timestamp=batch.timestamp,
            origin=origin,
            sequence_number=0 if begins else parent.sequence_number + 1,
            system=system,
            deposits=deposits,
            transactions=batch.transactions,
            parent_hash=parent_hash,
            inclusion_number=self._origin.number,
            cause=cause,
        )

    # ------------------------------------------------------------ batches
    def _next_batch(self, *, speculative: bool) -> SingularBatch | SpanBatch | None:
        """The next batch that can be read; of the channel that is open only, when `speculative`."""
        while True:
            if self._batches is None:
                channel = None if speculative else self._next_channel()
                if channel is None:
                    return None
                self._batches = read_batches(channel)
            try:
                raw = next(self._batches, None)
                if raw is not None:
                    return self._decoded(raw)
            except CodecError as error:
                self._note(error.code, error.message)
                if error.code == "span_transaction_malformed":
                    continue  # this batch alone is lost; whatever else is malformed ends the channel
            self._batches = None

    def _decoded(self, raw: bytes) -> SingularBatch | SpanBatch:
        config = self.config
        if raw[:1] == bytes((SINGULAR_BATCH,)):
            return decode_singular(raw)
        if raw[:1] == bytes((SPAN_BATCH,)):
            return expand(
                decode_raw(raw),
                genesis_time_s=config.genesis_time_s,
                block_time_s=config.block_time_s,
                chain_id=config.chain_id,
            )
        raise CodecError(f"there is no batch of type 0x{raw[:1].hex()}", code="batch_malformed")

    def _next_channel(self) -> bytes | None:
        if self._assembler.expire(self._origin.number):
            self._note("channel_timed_out", "a channel was not finished in time and is dropped")
        while self._frames:
            try:
                channel = self._assembler.add(self._frames.popleft(), self._origin.number)
            except CodecError as error:
                self._note(error.code, error.message)
                continue
            if channel is not None:
                return channel
        return None

    def _flush(self) -> None:
        """Drops the rest of the channel that is being read; frames that wait stay."""
        self._span.clear()
        self._held = self._batches = None
        self._assembler.reset()

    def _view(self) -> View:
        return View(self.config, self._l1, self._epoch, self._origin.number)

    def _forget(self) -> None:
        """Lets go of L1 blocks before the head's origin, and of blocks that no span batch in the window begins with."""
        while self._l1_min < self._head.origin_number:
            self._l1.pop(self._l1_min, None)
            self._l1_min += 1
        while self._ancestor_min < self._head.number:
            block = self._ancestors[self._ancestor_min]
            if block.origin_number + 1 + self.config.seq_window_blocks >= self._origin.number:
                break
            del self._ancestors[self._ancestor_min]
            self._ancestor_min += 1

    def _note(self, code: str, message: str) -> None:
        self._notices.append(Notice(self._origin.number, code, message))

    def _note_verdict(self, verdict: Verdict) -> None:
        if verdict.validity is not Validity.PAST:
            self._note("batch_dropped", f"a batch on block {self._head.number} is not taken: {verdict.reason}")


_UNKNOWN: Final = Hash32(bytes(32))
