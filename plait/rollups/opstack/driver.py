"""One rollup's execution engine, kept at the rollup's own blocks.

Specification
    - A reconciler: it compares our head with the engine's and does the next thing that brings them together. It keeps
      no queue; `notify` only wakes it. So it does not matter how they came apart: a killed engine, a lost data
      directory, a week's absence, foreign blocks, or an unwinding of our own network.
    - Every block is executed by the engine, which must come to our hash. `import` hands blocks over (newPayload,
      forkchoiceUpdated); `build` first has the engine build the block from the same attributes and transactions and
      compares the hashes, as a stock sequencer's engine would.
    - A different hash stops this rollup's driver with evidence (`engine_hash_mismatch`); nothing else stops. It goes on
      when our network replaces the block, or on `resume`.
    - Heads only move to blocks of ours. A forkchoice update to an older block of the engine's own chain does not move
      its head: to take it back, the engine builds a sibling, goes there, and from there to the block.
    - What cannot be asked or is refused at the start is asked again, for ever and ever more slowly.
States: driver_state. Level 5.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from plait.derivation.rollup_config import BlockId
from plait.errors import CodecError, ConfigurationError, PlaitError, Unavailable
from plait.limits import (
    ENGINE_AHEAD_GRACE_S,
    ENGINE_BACKFILL_BLOCKS,
    ENGINE_IDLE_CHECK_S,
    ENGINE_LAG_RETRY_MS_MAX,
    ENGINE_RECHECK_S,
    ENGINE_RETRY_MS_MAX,
    ENGINE_RETRY_MS_MIN,
)
from plait.rollups.opstack.blocks import Blocks
from plait.rollups.opstack.checks import check_engine
from plait.rollups.opstack.driver_state import DriverState, EngineStatus, SettledHeads, check_step
from plait.rollups.opstack.engine_answers import EngineRefused
from plait.rollups.opstack.engine_client import NO_HASH, EngineClient, ForkchoiceState
from plait.rollups.opstack.evidence import Disagreement, write_evidence
from plait.rollups.opstack.forks import EngineFork
from plait.rollups.opstack.handing import BlockRefused, EngineLags, build_block, import_block, take_back
from plait.types import BlockNumber, Hash32, Milliseconds

DriveMode = Literal["import", "build"]

_log = structlog.get_logger("plait.engine")
_GENESIS: Final = BlockNumber(0)


def _nothing_settled() -> SettledHeads:
    return SettledHeads()


class DriverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine is driven.

    Fields:
        mode: `build` has new blocks built by the engine before they are imported; blocks that it lacks are imported.
        ahead_grace_s: how long blocks of the engine above our head are left alone, seconds.
        evidence_dir: where disagreements are written; None for nowhere.
    """

    mode: DriveMode = "import"
    ahead_grace_s: float = ENGINE_AHEAD_GRACE_S
    recheck_s: float = ENGINE_RECHECK_S
    idle_check_s: float = ENGINE_IDLE_CHECK_S
    evidence_dir: Path | None = None


class EngineDriver:
    """Keeps one engine at one rollup's blocks; `run` is its task.

    Args:
        client: of the engine; closed by `run`.
        blocks: the rollup's.
        fork: of its blocks.
        settled: how far L1 has settled the rollup, asked at every forkchoice update.
    """

    def __init__(
        self,
        client: EngineClient,
        blocks: Blocks,
        fork: EngineFork = "jovian",
        *,
        settled: Callable[[], SettledHeads] = _nothing_settled,
        settings: DriverSettings | None = None,
    ) -> None:
        self._client = client
        self._blocks = blocks
        self._fork = fork
        self._settled = settled
        self._settings = settings or DriverSettings()
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._engine_head = blocks.first
        self._told = SettledHeads()
        self._driven_number = blocks.first.number
        self._refused: BlockId | None = None
        self._ahead_since: float | None = None
        self._behind_since: float | None = None
        self._status = EngineStatus(chain_id=blocks.chain_id, url=client.url, state=DriverState.CONNECTING)
        self._log = _log.bind(rollup=blocks.chain_id)

    # ------------------------------------------------------------ for others
    def notify(self) -> None:
        """Our blocks or what L1 settled of them changed. Cheap; may be called at any time from the loop's thread."""
        self._wake.set()

    def resume(self) -> None:
        """Tries again after a stop, because somebody put the reason right."""
        self._refused = None
        self._wake.set()

    @property
    def status(self) -> EngineStatus:
        """What it is doing now."""
        since = self._behind_since
        behind = 0 if since is None else int((time.monotonic() - since) * 1000)
        head = self._blocks.head().number
        return msgspec.structs.replace(self._status, head=head, behind_ms=Milliseconds(behind))

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics."""
        return self.status.statistics()

    async def wait_until(self, wanted: Callable[[EngineStatus], bool], timeout_s: float) -> EngineStatus:
        """The first status that is wanted.

        Raises:
            TimeoutError: none came in time.
        """
        async with asyncio.timeout(timeout_s):
            while not wanted(self.status):
                self._changed.clear()
                await self._changed.wait()
        return self.status

    async def wait_for(self, number: BlockNumber, timeout_s: float) -> EngineStatus:
        """Returns when the engine has our block `number`. Raises TimeoutError."""
        return await self.wait_until(
            lambda now: now.state is DriverState.FOLLOWING and now.engine_head >= number and self._extends(), timeout_s
        )

    # ------------------------------------------------------------ the task
    async def run(self) -> None:
        """Drives until it is cancelled; no failure of the engine leaves it."""
        pause_ms = ENGINE_RETRY_MS_MIN
        try:
            while True:
                try:
                    await self._connect()
                    pause_ms = ENGINE_RETRY_MS_MIN
                    await self._follow()
                except Unavailable as error:
                    self._become(DriverState.CONNECTING, error)
                    await self._pause(pause_ms / 1000)
                    pause_ms = min(2 * pause_ms, ENGINE_RETRY_MS_MAX)
                except BlockRefused as error:
                    await self._stop_with_evidence(error)
                    await self._wait_for_release()
                except PlaitError as error:
                    self._become(DriverState.STOPPED, error)
                    await self._pause(self._settings.recheck_s)
                except Exception as error:  # a fault of this driver concerns its rollup alone
                    self._log.exception("engine_driver_failed")
                    self._become(DriverState.STOPPED, PlaitError(repr(error), code="engine_driver_failed"))
                    await self._pause(self._settings.recheck_s)
        finally:
            await self._client.close()

    async def _connect(self) -> None:
        """Checks the engine. Raises what `check_engine` does."""
        if self._status.state is DriverState.STOPPED:
            self._become(DriverState.CONNECTING)
        await check_engine(self._client, self._blocks.chain_id, self._blocks.first, self._fork)
        self._update(reconnects=self._status.reconnects + 1)
        self._become(DriverState.SYNCING)

    async def _follow(self) -> None:
        """Brings the engine to our head, and again whenever either moves. Never returns."""
        known = False
        pause_ms = ENGINE_RETRY_MS_MIN
        while True:
            self._wake.clear()
            try:
                if not known or not self._extends():
                    await self._reconcile()
                else:
                    await self._advance(self._engine_head)
                known, pause_ms = True, ENGINE_RETRY_MS_MIN
            except EngineLags as error:
                known = False
                self._become(DriverState.SYNCING, error)
                await self._pause(pause_ms / 1000)
                pause_ms = min(2 * pause_ms, ENGINE_LAG_RETRY_MS_MAX)
                continue
            if await self._pause(self._settings.idle_check_s):
                continue
            latest = await self._client.block("latest")
            known = latest is not None and latest.hash == self._engine_head.hash

    def _extends(self) -> bool:
        """Whether the engine's head, as it was last, is still a block of ours."""
        return self._blocks.hash_of(self._engine_head.number) == self._engine_head.hash

    # ------------------------------------------------------------ bringing together
    async def _reconcile(self) -> None:
        """Finds where the engine's chain and ours part, and goes on from there."""
        latest = await self._client.block("latest")
        if latest is None:
            raise EngineLags("The engine has no head yet.")
        head = self._blocks.head()
        common = await self._common(min(latest.number, head.number))
        if common.number < head.number:
            self._ahead_since = None
            if latest.number > common.number:
                self._log.info("engine_has_other_blocks", common=common.number, engine=latest.number, ours=head.number)
            self._become(DriverState.SYNCING)
            await self._advance(common)
        elif latest.number == head.number:
            self._ahead_since = None
            self._reached(head)
            await self._tell(head)
        else:
            await self._above(head, latest.number)

    async def _common(self, highest: BlockNumber) -> BlockId:
        """The highest block of the engine's chain, at most `highest`, that is ours too.

        Raises:
            EngineLags: the engine does not have a block below its head.
        """
        found = await self._same_at(highest)
        if found is not None:
            return found
        found = self._blocks.first
        low, high = found.number, BlockNumber(highest - 1)
        while low < high:  # our block `low` is the engine's too, the one above `high` is not
            middle = BlockNumber((low + high + 1) // 2)
            same = await self._same_at(middle)
            if same is not None:
                low, found = middle, same
            else:
                high = BlockNumber(middle - 1)
        return found

    async def _same_at(self, number: BlockNumber) -> BlockId | None:
        """Block `number` if both have the same one, or if we no longer have ours: a node that began from a snapshot
        lacks old blocks, and whatever is built upon another one is refused. Raises EngineLags: the engine has none."""
        theirs = await self._client.block(number)
        if theirs is None:
            raise EngineLags(f"The engine does not have block {number} of its own chain.")
        ours = self._blocks.hash_of(number)
        return BlockId(number, theirs.hash) if ours is None or theirs.hash == ours else None

    async def _above(self, head: BlockId, engine_number: BlockNumber) -> None:
        """The engine has blocks above our head. They may be ours to come; otherwise they are taken back."""
        now = time.monotonic()
        self._ahead_since = self._ahead_since or now
        unwound = self._driven_number > head.number
        if not unwound and now - self._ahead_since < self._settings.ahead_grace_s:
            self._stands_at(head)
            raise EngineLags(
                f"The engine has {engine_number - head.number} blocks above our head {head.number}; they are taken "
                "back unless they become ours.",
                code="engine_ahead",
            )
        if head.number == self._blocks.first.number:
            raise EngineLags(
                "The engine has blocks above the first one; our next block replaces them.", code="engine_ahead"
            )
        await take_back(self._client, self._blocks, head, self._fork)
        self._log.info("engine_taken_back", number=head.number, from_number=engine_number)
        self._ahead_since = None
        self._update(unwound=self._status.unwound + 1)
        self._reached(head)
        await self._tell(head)

    async def _advance(self, start: BlockId) -> None:
        """Hands over our blocks above `start`, which is the engine's head or an ancestor of it."""
        head = self._blocks.head()
        parent = start
        while parent.number < head.number:
            number = BlockNumber(parent.number + 1)
            if head.number - parent.number > 1:
                self._become(DriverState.SYNCING)
            parent = await self._hand_over_upon(number, parent, newest=number == head.number)
            if number == head.number or number % ENGINE_BACKFILL_BLOCKS == 0:
                await self._move(parent)
            head = self._blocks.head()
            if self._blocks.hash_of(parent.number) != parent.hash:
                raise EngineLags("Our blocks were replaced while they were handed over.", code="engine_unwinding")
        if parent.number > start.number or self._told != self._settled():
            await self._tell(parent)
        self._reached(parent)

    async def _hand_over_upon(self, number: BlockNumber, parent: BlockId, *, newest: bool) -> BlockId:
        """One block, upon one that the engine calls valid. Raises BlockRefused, EngineLags.

        An engine that keeps few states calls a block valid that it knows from before it was stopped, and may lack the
        state to go on from it: as its head it executes the block again.
        """
        try:
            return await self._hand_over(number, parent, newest=newest)
        except EngineLags:
            if parent == self._engine_head or self._blocks.hash_of(parent.number) != parent.hash:
                raise
            await self._move(parent)
            return await self._hand_over(number, parent, newest=newest)

    async def _hand_over(self, number: BlockNumber, parent: BlockId, *, newest: bool) -> BlockId:
        """One block. Raises BlockRefused, EngineLags."""
        try:
            if newest and self._settings.mode == "build":
                found = await build_block(self._client, self._blocks, number, parent, self._fork)
                self._update(built=self._status.built + 1)
            else:
                found = await import_block(self._client, self._blocks, number, self._fork)
        except BlockRefused as error:
            self._refused = error.block
            raise
        self._update(imported=self._status.imported + 1)
        return found

    async def _move(self, block: BlockId) -> None:
        """Makes a block the engine's head, and tells it what is settled."""
        state, told = self._forkchoice(block)
        try:
            answer = await self._client.forkchoice_updated(state)
        except EngineRefused as error:
            if error.code != "engine_forkchoice_invalid":
                raise
            # what is settled is no ancestor of this block yet, for instance while L1 reorganises: the head comes first
            self._log.warning("engine_settled_blocks_refused", safe=told.safe, finalized=told.finalized)
            answer = await self._client.forkchoice_updated(ForkchoiceState(block.hash))
            told = self._told
        if answer.status.status != "VALID":
            raise EngineLags(f"The engine answers {answer.status.status} to head {block.number}.")
        self._told = told
        self._driven_number = max(self._driven_number, block.number)
        self._stands_at(block)
        self._update(safe=told.safe, finalized=told.finalized)

    async def _tell(self, head: BlockId) -> None:
        """Tells the engine what is settled, if that has changed since."""
        if self._told != self._settled() or self._engine_head != head:
            await self._move(head)

    def _forkchoice(self, head: BlockId) -> tuple[ForkchoiceState, SettledHeads]:
        settled = self._settled()
        safe = min(settled.safe, head.number)
        finalized = min(settled.finalized, safe)
        return (
            ForkchoiceState(
                head.hash, self._settled_hash(BlockNumber(safe)), self._settled_hash(BlockNumber(finalized))
            ),
            SettledHeads(BlockNumber(settled.safe), BlockNumber(settled.finalized)),
        )

    def _settled_hash(self, number: BlockNumber) -> Hash32:
        return NO_HASH if number == _GENESIS else self._blocks.hash_of(number) or NO_HASH

    def _reached(self, head: BlockId) -> None:
        self._stands_at(head)
        self._driven_number = head.number
        if head == self._blocks.head():
            self._become(DriverState.FOLLOWING)

    def _stands_at(self, block: BlockId) -> None:
        self._engine_head = block
        self._update(engine_head=block.number, engine_hash=block.hash)

    # ------------------------------------------------------------ stopping
    async def _stop_with_evidence(self, error: BlockRefused) -> None:
        path = ""
        if self._settings.evidence_dir is not None:
            try:
                version = await self._engine_version()
                found = Disagreement(
                    chain_id=self._blocks.chain_id,
                    code=error.code,
                    ours=error.ours,
                    engine=error.engine,
                    engine_words=error.engine_words,
                    engine_version=version,
                )
                path = str(await asyncio.to_thread(write_evidence, self._settings.evidence_dir, found))
            except OSError as problem:
                self._log.error("evidence_not_written", error=str(problem))
        self._become(DriverState.STOPPED, error)
        self._update(evidence=path)
        self._log.error("engine_disagrees", **error.fields, code=error.code, evidence=path)

    async def _engine_version(self) -> str:
        try:
            return str(await self._client.call("web3_clientVersion"))[:200]
        except (Unavailable, EngineRefused, CodecError, ConfigurationError):
            return ""

    async def _wait_for_release(self) -> None:
        """Returns when the refused block is no longer ours, or on `resume`."""
        while self._refused is not None and self._blocks.hash_of(self._refused.number) == self._refused.hash:
            self._wake.clear()
            await self._wake.wait()
        self._refused = None
        self._update(evidence="")

    # ------------------------------------------------------------ small parts
    async def _pause(self, seconds: float) -> bool:
        """Waits until `notify` or the time; True when notified."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def _become(self, state: DriverState, error: PlaitError | None = None) -> None:
        before = self._status
        check_step(before.state, state)
        code = "" if error is None else error.code
        self._update(state=state, code=code, message="" if error is None else error.message)
        if state is DriverState.FOLLOWING:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = time.monotonic()
        if (before.state, before.code) != (state, code):
            write = self._log.warning if code else self._log.info
            write("engine_" + state, code=code, message=self._status.message, engine_head=self._status.engine_head)

    def _update(self, **changes: object) -> None:
        self._status = msgspec.structs.replace(self._status, **changes)
        self._changed.set()
