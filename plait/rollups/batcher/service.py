"""The batcher's task: follows what is sealed, posts it, and follows its postings until L1 made them final.

Where a rollup's next posting begins is never remembered in memory alone: it follows the last range in the journal whose
last block the rollup still has; before that the settled cursor; before that what was found on L1 (`floor`), at worst
the rollup's genesis. So blocks that were unwound are posted again as they are now, and nothing is left out.

A failure of L1, of the disk or of one rollup shows in `state` and is tried again; the task ends only when cancelled, or
when its journal contradicts itself, because then another post could break the order.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from plait.derivation.frames import CHANNEL_ID_BYTES
from plait.derivation.rollup_config import OpStackConfig
from plait.errors import InvariantBroken, PlaitError, Unavailable
from plait.limits import BATCHER_BACKLOG_BLOCKS_PER_STEP_MAX, BATCHER_REJECTIONS_MAX
from plait.native import keccak256
from plait.rollups.batcher.assembly import Format, contents, make_part, ranges_of
from plait.rollups.batcher.blocks import batch_block
from plait.rollups.batcher.journal import Costs, Cursor, Journal, Posting, Range
from plait.rollups.batcher.l1_access import L1Access
from plait.rollups.batcher.l1_sender import (
    Finalized,
    HistoryLost,
    Included,
    L1Sender,
    SenderEvent,
    SenderSettings,
    Voided,
)
from plait.rollups.batcher.plan import Backlog, Plan, PlanSettings, Waiting, plan
from plait.rollups.batcher.throttle import DaBudget, ThrottleSettings, da_budget
from plait.types import Address, BlockNumber, Hash32, RollupId, Seconds

RATIO_FIRST: Final = 0.6
"""Compressed bytes per byte before anything was compressed; op-batcher's approximate ratio."""
_RATIO_WEIGHT: Final = 0.3


class Blocks(Protocol):
    """A rollup's sealed blocks; `plait.native.Rollup` has this shape."""

    @property
    def head(self) -> Any:
        """The last sealed block: `number`, `hash`, `timestamp`."""

    def raw_block(self, at: int) -> bytes | None:
        """A sealed block as it is hashed; None when there is none."""

    def raw_header(self, at: int) -> bytes | None:
        """Its header."""


class PostedRollup(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup that this batcher posts."""

    rollup_id: RollupId
    blocks: Blocks
    config: OpStackConfig
    batcher: Address
    """Whose transactions its derivation reads now."""


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """How far L1 has a rollup, read up to an L1 block."""

    number: BlockNumber
    hash: Hash32
    l1_number: BlockNumber
    following: bool
    """Whether nothing keeps the reading of L1 from going on."""
    blocked: bool = False
    """Whether our next block cannot derive: L1 decided otherwise, or lost its origin. It is not worth posting."""


class BatcherTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an operator may choose."""

    format: Format = Format()
    plan: PlanSettings = PlanSettings()
    sender: SenderSettings = SenderSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    poll_s: float = 1.0
    final_depth_blocks: int = 64
    """Where L1 names no finalized block, a posting is final so many blocks below the newest."""


class Logger(Protocol):
    """What the batcher says."""

    def info(self, event: str, **fields: Any) -> Any:
        """Something happened."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Something needs attention."""


class _Tail:
    """Sealed blocks of a rollup that are not posted."""

    __slots__ = ("blocks", "data_bytes")

    def __init__(self) -> None:
        self.blocks: deque[tuple[Waiting, Hash32]] = deque()
        self.data_bytes = 0

    def push(self, block: Waiting, hash_: Hash32) -> None:
        self.blocks.append((block, hash_))
        self.data_bytes += block.data_bytes

    def pop(self, *, first: bool) -> None:
        block, _ = self.blocks.popleft() if first else self.blocks.pop()
        self.data_bytes -= block.data_bytes


class Batcher:
    """Posts the blocks of all its rollups. Methods belong to one event loop.

    Args:
        rollups: what to post now, by rollup id; asked at every step.
        l1: where to.
        journal: what was signed.
        private_key: of the batcher's account, 32 bytes.
        l1_chain_id: of L1.
        terms: an operator's choices.
        now_s: the time, seconds since the epoch.
        logger: where it says what it does.
        floor: how far a rollup is posted by what L1 itself says; None while that is not known. Without it a new batcher
            begins at the rollup's genesis.
    """

    def __init__(
        self,
        rollups: Callable[[], Mapping[RollupId, PostedRollup]],
        l1: L1Access,
        journal: Journal,
        private_key: bytes,
        *,
        l1_chain_id: int,
        terms: BatcherTerms,
        now_s: Callable[[], float],
        logger: Logger,
        floor: Callable[[RollupId], Floor | None] | None = None,
    ) -> None:
        self._rollups = rollups
        self._l1 = l1
        self._journal = journal
        self._l1_chain_id = l1_chain_id
        self.terms = terms
        self._now_s = now_s
        self._logger = logger
        self._floor = floor
        self.sender = L1Sender(
            l1, journal, private_key, terms.sender, now_s=now_s, final_depth_blocks=terms.final_depth_blocks
        )
        self._tails: dict[RollupId, _Tail] = {}
        self._wake = asyncio.Event()
        self._flush = False
        self._ratio = RATIO_FIRST
        self._rejected: dict[Hash32, int] = {}
        self.state = "starting"
        """`posting`, or a stable code of what is wrong."""
        self.reason = ""
        """A sentence about a state that is not `posting`."""
        self.postings = 0
        self.voided = 0

    # ------------------------------------------------------------ for others
    def notify(self) -> None:
        """Blocks were sealed or unwound."""
        self._wake.set()

    def flush(self) -> None:
        """Posts what is sealed with the next step, whatever its age."""
        self._flush = True
        self._wake.set()

    def backlog_bytes(self) -> int:
        """Data of sealed blocks that are in no posting, before compression."""
        return sum(tail.data_bytes for tail in self._tails.values())

    def own_blobs(self) -> dict[Hash32, bytes]:
        """Blobs of postings that are not final, by versioned hash: what a beacon node need not be asked for."""
        return {
            hash_: blob
            for entry in self._journal.entries.values()
            if entry.sidecar is not None
            for hash_, blob in zip(entry.sidecar.versioned_hashes, entry.content.blobs, strict=True)
        }

    def posted_ranges(self, rollup_id: RollupId) -> list[Range]:
        """What of a rollup is in postings that are not final, in order."""
        return self._journal.ranges(rollup_id)

    def is_authorized(self, rollup: PostedRollup) -> bool:
        """Whether the rollup's derivation reads what this batcher's account sends."""
        return rollup.batcher == self.sender.address

    def da_budget(self) -> DaBudget | None:
        """What a new block may hold of user transactions while L1 is behind; None for no limit."""
        return da_budget(self.backlog_bytes(), self.terms.throttle)

    def costs(self) -> dict[int, Costs]:
        """What posting has cost every rollup since the journal began, as far as L1 holds it: what is final from the
        journal, the rest from the receipts that are known now."""
        return self.sender.costs()

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        return {
            "backlog_bytes": self.backlog_bytes(),
            "backlog_blocks": sum(len(tail.blocks) for tail in self._tails.values()),
            "in_flight": self.sender.in_flight(),
            "postings": self.postings,
            "voided": self.voided,
            "fee_bumps": self.sender.bumps,
            "resends": self.sender.resends,
            "compression_ratio": round(self._ratio, 4),
            "healthy": int(self.state in ("posting", "starting")),
            "cost_wei": sum(costs.wei for costs in self.costs().values()),
        }

    def status(self) -> dict[str, Any]:
        """For people: state, postings in flight, cursor and costs per rollup."""
        costs = self.costs()
        return {
            "state": self.state,
            "reason": self.reason,
            "address": "0x" + self.sender.address.hex(),
            "inFlight": self.sender.in_flight(),
            "backlogBytes": self.backlog_bytes(),
            "rollups": {
                str(rollup_id): {
                    "authorized": self.is_authorized(rollup),
                    "postedTo": None if (cursor := self.cursor(rollup)) is None else cursor.number,
                    "waitingBlocks": len(self._tails[rollup_id].blocks) if rollup_id in self._tails else 0,
                    "costs": msgspec.to_builtins(costs.get(rollup_id, Costs())),
                }
                for rollup_id, rollup in sorted(self._rollups().items())
            },
        }

    # ------------------------------------------------------------ the task
    async def run(self) -> None:
        """Goes on until cancelled. Never raises for what L1, a disk or a rollup does."""
        while True:
            try:
                await self.step()
                self._becomes("posting", "")
            except InvariantBroken as error:
                self._becomes(error.code, error.message)
                return
            except PlaitError as error:
                self._becomes(error.code, error.message)
            except OSError as error:
                self._becomes("batcher_journal_unwritable", f"The batcher's journal cannot be written: {error}.")
            try:
                async with asyncio.timeout(self.terms.poll_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await asyncio.sleep(min(0.05, self.terms.poll_s))  # blocks of several rollups are sealed together

    async def step(self) -> None:
        """Follows L1 and the rollups once, and posts when it is time.

        Raises:
            Unavailable: L1 gives no answer, or does not take the batcher's transactions, or asks for more than they may
                offer.
            OSError: the journal cannot be written.
        """
        for event in await self.sender.step():
            await self._on_event(event)
        await self._check_derived()
        if await self._post():
            await self.sender.step()
        if self.sender.capped:
            raise Unavailable(
                "L1 asks for more per gas than the batcher may offer; it waits for lower fees. Raise fee_cap_max_wei "
                "or blob_fee_cap_max_wei where its blocks have to be posted before.",
                code="batcher_fee_capped",
            )
        if self.sender.refusal is not None:
            raise _refused(self.sender.refusal)

    async def _on_event(self, event: SenderEvent) -> None:
        match event:
            case Included(posting=posting, receipts=receipts):
                self._logger.info(
                    "batch_posted", l1_block=receipts[-1].block.number, nonce=posting.first_nonce, **_said(posting)
                )
            case Finalized():
                pass
            case Voided(nonce=nonce, code=code):
                self.voided += 1
                self._logger.warning("batch_void", nonce=nonce, code=code)
            case HistoryLost():
                self._logger.warning("l1_history_lost", code="l1_history_lost")
                nonce = await self._l1.nonce(self.sender.address)
                await asyncio.to_thread(self._journal.rewind, {}, nonce)

    async def _check_derived(self) -> None:
        """Voids what is on L1 and does not derive: it is posted again, a bounded number of times."""
        if self._floor is None:
            return
        rollups = self._rollups()
        for posting, included_at in self.sender.included():
            for part in posting.ranges:
                rollup = rollups.get(part.rollup_id)
                floor = self._floor(part.rollup_id)
                if rollup is None or floor is None or not floor.following or floor.l1_number <= included_at:
                    continue
                if floor.number >= part.last or not self._has(rollup, part.last, part.last_hash):
                    continue
                times = self._rejected.get(part.last_hash, 0)
                if times >= BATCHER_REJECTIONS_MAX:
                    continue
                self._rejected[part.last_hash] = times + 1
                if times + 1 == BATCHER_REJECTIONS_MAX:
                    self._logger.warning(
                        "batch_rejected",
                        code="batcher_rejected",
                        rollup=part.rollup_id,
                        first=part.first,
                        last=part.last,
                    )
                await self._on_event(Voided(nonce=posting.first_nonce, code="batcher_not_derived"))
                await asyncio.to_thread(self._journal.void_from, posting.first_nonce)
                return

    def _is_blocked(self, rollup_id: RollupId) -> bool:
        floor = None if self._floor is None else self._floor(rollup_id)
        return floor is not None and floor.blocked

    # ------------------------------------------------------------ posting
    async def _post(self) -> bool:
        ours = {one: rollup for one, rollup in sorted(self._rollups().items()) if self.is_authorized(rollup)}
        if not ours and self._rollups():
            raise Unavailable(
                f"No rollup's SystemConfig names the batcher's account 0x{self.sender.address.hex()}, so nothing is "
                "posted. Use the key of the account that it names, or set it with setBatcherHash.",
                code="batcher_not_authorized",
            )
        rollups = {one: rollup for one, rollup in ours.items() if not self._is_blocked(one)}
        for rollup in rollups.values():
            await asyncio.to_thread(self._refresh, rollup)
        for gone in self._tails.keys() - rollups.keys():
            del self._tails[gone]
        posted = False
        for inbox in sorted({rollup.config.batch_inbox for rollup in rollups.values()}):
            together = {one: rollup for one, rollup in rollups.items() if rollup.config.batch_inbox == inbox}
            posted |= await self._post_to(inbox, together)
        self._flush = False
        return posted

    async def _post_to(self, inbox: Address, rollups: Mapping[RollupId, PostedRollup]) -> bool:
        head = await self._l1.block("latest")
        assert head is not None, "L1 has a newest block"
        planned = plan(
            {rollup_id: self._backlog(rollup) for rollup_id, rollup in rollups.items()},
            l1_number=head.number,
            now_s=Seconds(int(self._now_s())),
            waiting=self.sender.in_flight(),
            ratio=self._ratio,
            settings=self.terms.plan,
            flush=self._flush,
        )
        if planned is None:
            return False
        parts = await asyncio.to_thread(self._parts, rollups, planned)
        if parts is None:
            return False  # blocks were unwound meanwhile; the next step sees them
        made = await asyncio.to_thread(
            contents, parts, l1_chain_id=self._l1_chain_id, inbox=inbox, format_=self.terms.format
        )
        await self.sender.post(made, ranges_of(parts))
        self.postings += 1
        size, stream = sum(len(part.data) for part in parts), sum(part.stream_bytes for part in parts)
        self._ratio += _RATIO_WEIGHT * (size / max(1, stream) - self._ratio)
        for rollup_id, (_, last) in planned.ranges.items():
            tail = self._tails[rollup_id]
            while tail.blocks and tail.blocks[0][0].number <= last:
                tail.pop(first=True)
        return True

    def _parts(self, rollups: Mapping[RollupId, PostedRollup], planned: Plan) -> Any:
        parts = []
        for rollup_id, (first, last) in planned.ranges.items():
            rollup = rollups[rollup_id]
            raws = [rollup.blocks.raw_block(number) for number in range(first, last + 1)]
            blocks = [batch_block(raw) for raw in raws if raw is not None]
            expected = {number: hash_ for (block, hash_) in self._tails[rollup_id].blocks for number in (block.number,)}
            if len(blocks) != len(raws) or any(expected.get(block.number) != block.hash for block in blocks):
                return None
            parts.append(
                make_part(
                    rollup_id,
                    blocks,
                    channel_id=secrets.token_bytes(CHANNEL_ID_BYTES),
                    genesis_time_s=rollup.config.genesis_time_s,
                    format_=self.terms.format,
                )
            )
        return parts

    def _backlog(self, rollup: PostedRollup) -> Backlog:
        tail = self._tails[rollup.rollup_id]
        head = tail.blocks[-1][0].timestamp if tail.blocks else rollup.blocks.head.timestamp
        return Backlog(
            blocks=[block for block, _ in tail.blocks],
            next_timestamp=Seconds(head + rollup.config.block_time_s),
            seq_window_blocks=rollup.config.seq_window_blocks,
        )

    # ------------------------------------------------------------ cursors
    def cursor(self, rollup: PostedRollup) -> Cursor | None:
        """The last block of a rollup that is in a posting and is still part of it; None when even genesis is not known.

        A range whose last block the rollup no longer has counts for nothing, nor do those after it.
        """
        found = self._start(rollup)
        for part in self._journal.ranges(rollup.rollup_id):
            if self._has(rollup, part.last, part.last_hash) and (found is None or part.first <= found.number + 1):
                found = Cursor(part.last, part.last_hash)
        return found

    def _start(self, rollup: PostedRollup) -> Cursor | None:
        settled = self._journal.settled.cursors.get(rollup.rollup_id)
        if settled is not None and self._has(rollup, settled.number, settled.hash):
            return settled
        if self._floor is not None:
            floor = self._floor(rollup.rollup_id)
            return None if floor is None else Cursor(floor.number, floor.hash)
        genesis = rollup.config.genesis_l2
        return Cursor(genesis.number, genesis.hash)

    def _has(self, rollup: PostedRollup, number: BlockNumber, hash_: Hash32) -> bool:
        return _hash_at(rollup.blocks, number) == hash_

    def _refresh(self, rollup: PostedRollup) -> None:
        """Brings the list of waiting blocks to what the rollup has sealed and the journal holds."""
        tail = self._tails.setdefault(rollup.rollup_id, _Tail())
        cursor = self.cursor(rollup)
        if cursor is None:
            return
        while tail.blocks and tail.blocks[0][0].number <= cursor.number:
            tail.pop(first=True)
        if tail.blocks and tail.blocks[0][0].number != cursor.number + 1:
            tail.blocks.clear()
            tail.data_bytes = 0
        while tail.blocks and _hash_at(rollup.blocks, tail.blocks[-1][0].number) != tail.blocks[-1][1]:
            tail.pop(first=False)
        number, parent = (
            (tail.blocks[-1][0].number, tail.blocks[-1][1]) if tail.blocks else (cursor.number, cursor.hash)
        )
        last = min(rollup.blocks.head.number, number + BATCHER_BACKLOG_BLOCKS_PER_STEP_MAX)
        for at in range(number + 1, last + 1):
            raw = rollup.blocks.raw_block(at)
            block = None if raw is None else batch_block(raw)
            if block is None or block.batch.parent_hash != parent:
                return  # unwound while it was read
            waiting = Waiting(block.number, block.batch.timestamp, block.batch.epoch_number, block.data_bytes)
            tail.push(waiting, block.hash)
            parent = block.hash

    def _becomes(self, state: str, reason: str) -> None:
        if state != self.state:
            if state == "posting":
                self._logger.info("batcher_posting")
            else:
                self._logger.warning("batcher_waiting", code=state, reason=reason)
        self.state, self.reason = state, reason


def _hash_at(blocks: Blocks, number: int) -> Hash32 | None:
    header = blocks.raw_header(number)
    return None if header is None else Hash32(keccak256(header))


def _refused(words: str) -> Unavailable:
    if "insufficient funds" in words.lower():
        return Unavailable(
            "The batcher's account cannot pay for its transactions: send it ether on L1.",
            code="batcher_funds_missing",
            reason=words,
        )
    return Unavailable(
        f"L1 does not take the batcher's transaction ({words}); it is sent again.",
        code="batcher_transaction_refused",
        reason=words,
    )


def _said(posting: Posting) -> dict[str, Any]:
    return {
        "transactions": posting.transactions,
        "blocks": {str(part.rollup_id): f"{part.first}-{part.last}" for part in posting.ranges},
        "bytes": sum(part.bytes for part in posting.ranges),
    }
