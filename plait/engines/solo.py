"""The solo engine: one node decides alone, with the same checks that a network would make.

Specification
    - Ticks lie on the sub-block grid: sub_blocks_per_slot per slot, aligned to genesis. A tick that passes while a
      height is
      being decided is made up for at once, but only one of them: no backlog of ticks builds up.
    - A tick begins a height when the pool has candidates or a slot has begun that no sub-block has entered; an
      empty sub-block
      beyond the first of its slot is never made. While slots are being caught up, heights follow each other
      without a pause.
    - One height is one job of the one worker thread: prepare, process, finalize, append to the durable log, commit. The
      native core frees the interpreter lock meanwhile, so the event loop goes on admitting transactions.
    - Nothing is published before the log has it on the disk. Effects are published on the event loop, in height
      order, and the
      next height begins only afterwards (back-pressure).
    - Time comes from the clock passed in and never runs below that of the height before.
    - Any failure ends `run` with its exception: the node stops rather than go on with a state it cannot vouch for.
    - Where another node holds a rollup's state, preparing may read it for REMOTE_PREPARE_MS; what needs more is left
      out and told. A block that cannot be opened in that time keeps the height from being made: it is tried again with
      twice the time, after a pause. Checking and finalizing wait for as long as it takes, or until `stop`.

Level 5. Imports the protocol and the log; knows no network, pool or server.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from plait.engines.decision import Candidates, Decision, Log, record_of
from plait.errors import InvariantBroken
from plait.execution.bundles import BundleCandidate
from plait.execution.relaying import Relayer
from plait.interop.relays import Relay
from plait.limits import REMOTE_PREPARE_MS, REMOTE_RETRY_MS_FIRST, REMOTE_TIMEOUT_S, SUB_BLOCKS_PER_SLOT_MAX
from plait.native import NativeError
from plait.native.unread import is_unread
from plait.patience import NotRead, patience, until_read
from plait.protocol.application import Application
from plait.protocol.grid import slot_at
from plait.protocol.requests import (
    BundleFailed,
    FinalizeRequest,
    PreparedProposal,
    PrepareRequest,
    ProcessRequest,
    Refused,
    Unread,
)
from plait.types import Height, Milliseconds, NetworkParameters, Slot
from plait.types.action import SignedAction

T = TypeVar("T")


class SoloStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the start."""

    heights: int
    ticks_idle: int
    ticks_late: int


class SoloEngine:
    """Drives one `Application`.

    Args:
        application: restored to the log's height; from now on only this engine calls it.
        log: where decided sub-blocks are made durable.
        parameters: of the network; the grid.
        clock: Unix milliseconds, never falling.
        candidates: asked on the event loop at the start of a height.
        publish: told on the event loop about each decided height.
        bundles: asked like `candidates`, for the slot of the height.
        failed: told on the event loop about bundles that were tried in a slot and failed, before `publish`.
        unread: likewise about transactions that were left out because state could not be read.
        relayer: who delivers messages between rollups; None delivers none.
        relays: asked like `bundles`: messages of earlier sub-blocks to try again.
        actions: asked like `candidates`: ledger actions that wait.
        l1_items: asked like `candidates`: reports and facts of the L1 that wait.
    """

    def __init__(
        self,
        application: Application,
        log: Log,
        *,
        parameters: NetworkParameters,
        clock: Callable[[], Milliseconds],
        candidates: Callable[[], Candidates],
        publish: Callable[[Decision], None],
        bundles: Callable[[Slot], Sequence[BundleCandidate]] = lambda _: (),
        failed: Callable[[Sequence[BundleFailed], Slot], None] = lambda _, __: None,
        unread: Callable[[Sequence[Unread]], None] = lambda _: None,
        relayer: Relayer | None = None,
        relays: Callable[[Slot], Sequence[Relay]] = lambda _: (),
        actions: Callable[[], Sequence[SignedAction]] = lambda: (),
        l1_items: Callable[[], Sequence[bytes]] = lambda: (),
    ) -> None:
        self._application = application
        self._log = log
        self._parameters = parameters
        self._clock = clock
        self._candidates = candidates
        self._publish = publish
        self._bundles = bundles
        self._failed = failed
        self._unread = unread
        self._relayer = relayer
        self._relays = relays
        self._actions = actions
        self._l1_items = l1_items
        self._info = application.info()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="plait-solo")
        self._stopping = asyncio.Event()
        self._ended = threading.Event()
        self._prepare_ms = REMOTE_PREPARE_MS
        self.missing = ""
        """Why a height waits for state that another node holds; empty while none does."""
        self._last_tick = -1
        self._heights = 0
        self._ticks_idle = 0
        self._ticks_late = 0

    async def run(self) -> None:
        """Decides heights until `stop`, or until one fails. Raises whatever the failed height raised."""
        try:
            while not self._stopping.is_set():
                await self._wait_for_tick()
                if self._stopping.is_set():
                    break
                await self._tick()
        except NotRead:
            pass  # stopped while a height waited for state; it is begun again at the next start
        finally:
            await asyncio.to_thread(self._worker.shutdown, wait=True)

    def stop(self) -> None:
        """Ends `run` after the height in progress."""
        self._stopping.set()
        self._ended.set()

    async def between_heights(self, work: Callable[[], T]) -> T:
        """Runs `work` in the engine's worker thread, where no height is in progress. Raises what `work` raises."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def statistics(self) -> SoloStatistics:
        """Counters since the start."""
        return SoloStatistics(heights=self._heights, ticks_idle=self._ticks_idle, ticks_late=self._ticks_late)

    async def _wait_for_tick(self) -> None:
        now_ms = self._clock()
        if slot_at(self._parameters, now_ms) > self._info.slot + 1:
            self._last_tick = self._tick_index(now_ms)
            return
        index = max(self._last_tick + 1, 0)
        passed = self._tick_index(now_ms)
        if self._last_tick < 0 or passed > index:
            index = max(passed, 0)
        self._last_tick = index
        tick_ms = self._tick_time_ms(index)
        if tick_ms <= now_ms:
            self._ticks_late += 1
            await asyncio.sleep(0)
            return
        # A timer may fire a little early; entering a slot's first tick before the slot begins would leave it
        # without one.
        while (delay_ms := tick_ms - self._clock()) > 0 and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_ms / 1_000)

    def _tick_index(self, time_ms: Milliseconds) -> int:
        since_ms = time_ms - self._parameters.genesis_time_s * 1_000
        return since_ms * self._parameters.sub_blocks_per_slot // self._parameters.slot_ms

    def _tick_time_ms(self, index: int) -> int:
        """First millisecond that belongs to a tick (the quotient rounded up, so that it has passed when it is
        reached)."""
        offset_ms = -(-index * self._parameters.slot_ms // self._parameters.sub_blocks_per_slot)
        return self._parameters.genesis_time_s * 1_000 + offset_ms

    async def _tick(self) -> None:
        time_ms = Milliseconds(max(self._clock(), self._info.time_ms))
        slot = slot_at(self._parameters, time_ms)
        if slot < 0 or (slot == self._info.slot and self._info.sub_index + 1 >= SUB_BLOCKS_PER_SLOT_MAX):
            self._ticks_idle += 1
            return
        candidates, bundles, actions = self._candidates(), self._bundles(slot), self._actions()
        l1_items = self._l1_items()
        same_slot = slot == self._info.slot
        if same_slot and not candidates and not bundles and not actions and not l1_items:
            self._ticks_idle += 1
            return
        height = Height(self._info.height + 1)
        request = PrepareRequest(
            height=height,
            time_ms=time_ms,
            candidates=candidates,
            bundles=bundles,
            relayer=self._relayer,
            relays=self._relays(slot),
            actions=actions,
            l1_items=l1_items,
        )
        needed = not same_slot or bool(candidates) or bool(actions) or bool(l1_items)
        decision = await asyncio.get_running_loop().run_in_executor(self._worker, self._decide, request, needed)
        if decision is None:
            self._ticks_idle += 1
            await self._pause_for_state()
            return
        if decision.unread:
            self._unread(decision.unread)
        if isinstance(decision, PreparedProposal):
            self._ticks_idle += 1
            self._failed(decision.bundles_failed, slot)
            return
        if decision.bundles_failed:
            self._failed(decision.bundles_failed, slot)
        self._info = self._application.info()
        self._heights += 1
        self._publish(decision)

    async def _pause_for_state(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), REMOTE_RETRY_MS_FIRST / 1_000)

    def _note_missing(self, error: NativeError) -> None:
        self.missing = f"{error.code}: {error}"

    def _go_on(self, seconds: float) -> bool:
        """Pauses in the worker thread; False when the engine is to stop."""
        return not self._ended.wait(seconds)

    def _prepare(self, request: PrepareRequest) -> PreparedProposal | None:
        """A proposal; None when state that opening a block needs could not be read."""
        try:
            with patience(self._prepare_ms / 1_000):
                prepared = self._application.prepare(request)
        except NativeError as error:
            if not is_unread(error):
                raise
            self._note_missing(error)
            self._prepare_ms = min(2 * self._prepare_ms, int(REMOTE_TIMEOUT_S * 1_000))
            return None
        self.missing = ""
        self._prepare_ms = REMOTE_PREPARE_MS
        return prepared

    def _decide(self, request: PrepareRequest, needed: bool) -> Decision | PreparedProposal | None:
        """One height from start to end, in the worker thread. An empty one that is not `needed` is not decided: only
        what was left out of it is told. None where nothing can be prepared now."""
        clock = time.perf_counter
        started = clock()
        height, time_ms = request.height, request.time_ms
        prepared = self._prepare(request)
        prepared_at = clock()
        if prepared is None or (not needed and not prepared.transactions):
            return prepared
        asked = ProcessRequest(height=height, time_ms=time_ms, proposal=prepared.proposal)
        verdict = until_read(lambda: self._application.process(asked), self._note_missing, self._go_on)
        if isinstance(verdict, Refused):
            raise InvariantBroken(
                f"The node refuses its own proposal of height {height}: {verdict.sentence}",
                code="own_proposal_refused",
                height=height,
                reason=verdict.code,
            )
        processed_at = clock()
        decided = FinalizeRequest(height=height, time_ms=time_ms, proposal=prepared.proposal)
        effect = until_read(lambda: self._application.finalize(decided), self._note_missing, self._go_on).effect
        self.missing = ""
        finalized_at = clock()
        self._log.append(record_of(effect))
        appended_at = clock()
        self._application.commit()
        return Decision(
            effect=effect,
            dropped=prepared.dropped,
            deferred=prepared.deferred,
            bundles_failed=prepared.bundles_failed,
            relays_refused=prepared.relays_refused,
            actions_failed=prepared.actions_failed,
            unread=prepared.unread,
            phases_s={
                "prepare": prepared_at - started,
                "process": processed_at - prepared_at,
                "finalize": finalized_at - processed_at,
                "append": appended_at - finalized_at,
                "commit": clock() - appended_at,
            },
        )
