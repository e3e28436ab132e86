"""Reads ahead for rollups whose state another node holds, so that proposals find what they need.

Specification
    - A transaction or bundle that the pools admit on such a rollup waits there until its state was read, in a thread of
      this service; then it is offered to proposals. Execution of a slot so asks the node for nothing, as a rule, and a
      node that is slow costs its own rollup's senders time, and nobody else.
    - What cannot be read is tried again after pauses that double up to REMOTE_RETRY_MS_MAX, each item by itself; its
      status says why it waits (`remote_unavailable` and its like).
    - What opening blocks looks at is known REMOTE_AHEAD_BLOCKS blocks ahead, so that blocks go on without the node.
    - L1 blocks with deposits to such a rollup are held back (`holds`) until these were read: a deposit cannot be left
      out of a block. L1 agreement is some blocks behind the L1, which is the time that there is for it.
    - One job of a kind and rollup at a time. All of it lives on the event loop, but for the jobs.

Networks of one operator only: `require_one_operator`. Level 6.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from plait.derivation.attributes import block_attributes
from plait.derivation.l1_facts import L1BlockFacts
from plait.errors import ConfigurationError
from plait.execution.bundles import DecodedBundle, no_deliveries
from plait.execution.messages import InteropSets
from plait.execution.relaying import Relayer, deliver_by
from plait.ledger.state import LedgerState
from plait.limits import (
    REMOTE_AHEAD_BATCH_MAX,
    REMOTE_AHEAD_BLOCKS,
    REMOTE_AHEAD_THREADS,
    REMOTE_RETRY_MS_FIRST,
    REMOTE_RETRY_MS_MAX,
)
from plait.mempool import BundlePool, Pool
from plait.mempool.l1_items import L1Items
from plait.native import Attributes, NativeError, Rollup
from plait.native.unread import UNREAD_CODES, is_unread
from plait.node.logging import get_logger
from plait.node.reading import Tried, read_bundle, read_deposits, read_openings, read_queues
from plait.protocol.grid import block_timestamp_s, slot_at
from plait.protocol.requests import BundleFailed, Unread
from plait.types import BlockNumber, Hash32, Milliseconds, RollupId, Seconds

_Key = tuple[str, RollupId | Hash32]
"""Kind of a job and what it is for."""
_BUNDLES_AT_ONCE: Final = 8
_DOUBLINGS_MAX: Final = 16
_log = get_logger("read-ahead")


class Host(Protocol):
    """What the service needs of a node."""

    @property
    def pool(self) -> Pool:
        """Transactions."""
        ...

    @property
    def bundles(self) -> BundlePool:
        """Bundles."""
        ...

    @property
    def l1_items(self) -> L1Items:
        """What waits to be said about the L1."""
        ...

    @property
    def ledger(self) -> LedgerState:
        """As committed."""
        ...

    @property
    def interop_sets(self) -> InteropSets:
        """Of the registry."""
        ...

    @property
    def relayer(self) -> Relayer | None:
        """Who delivers messages."""
        ...


def require_one_operator(rollups: Mapping[RollupId, Rollup], engine: str) -> None:
    """Raises ConfigurationError (`remote_needs_one_operator`): every validator executes every block, so what it
    executes on must not depend on somebody's node."""
    remote = [rollup_id for rollup_id, rollup in sorted(rollups.items()) if rollup.is_remote]
    if remote and engine != "solo":
        raise ConfigurationError(
            f"Another node holds the state of rollup {remote[0]}, so only a network of one operator can order it "
            "(`plait rollup run`). Import the chain with --genesis to hold its state in a network of validators.",
            code="remote_needs_one_operator",
            rollup_id=remote[0],
        )


class ReadAhead:
    """The service of one node. `run` is its task.

    Args:
        host: the node.
        rollups: those that it orders, by id; some are remote.
        now_ms: Unix milliseconds.
    """

    def __init__(
        self, host: Host, rollups: Callable[[], Mapping[RollupId, Rollup]], now_ms: Callable[[], Milliseconds]
    ) -> None:
        self._host = host
        self._rollups = rollups
        self._now_ms = now_ms
        self._wake = asyncio.Event()
        self._busy: set[_Key] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._executor = ThreadPoolExecutor(REMOTE_AHEAD_THREADS, thread_name_prefix="plait-ahead")
        self._known_to: dict[RollupId, int] = {}
        """Number of the last block whose opening was read for."""
        self._not_before_ms: dict[_Key, int] = {}
        self._failures: dict[_Key, int] = {}
        self._reasons: dict[_Key, str] = {}
        """Why jobs failed that are tried again."""
        self._deposits: dict[int, tuple[L1BlockFacts, dict[RollupId, Hash32]]] = {}
        """L1 blocks with deposits that are yet to be read for."""
        self._numbers = {"transactions": 0, "bundles": 0, "failures": 0}
        self._needed = asyncio.Event()

    def _admitted(self, rollup_id: RollupId, _: object) -> None:
        if self._host.pool.lanes[rollup_id].unread:
            self._wake.set()

    def begin(self) -> None:
        """Sets to work: there is a rollup whose state another node holds. Until then the service costs nothing."""
        if not self._needed.is_set():
            self._needed.set()
            self._host.pool.listen(self._admitted)
            self._host.bundles.listen_handed_in(lambda _: self._wake.set())
            self._host.l1_items.holds, self._host.l1_items.on_facts = self.holds, self.offer_facts

    async def run(self) -> None:
        """Reads until it is cancelled."""
        try:
            await self._needed.wait()
            while True:
                self._wake.clear()
                self._begin()
                with contextlib.suppress(TimeoutError):  # not wait_for: it loses a cancellation at the moment of waking
                    async with asyncio.timeout(REMOTE_RETRY_MS_FIRST / 1_000):
                        await self._wake.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            # What a job reads is written to the data directory, so none may outlive the node.
            await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    # ------------------------------------------------------------ what the engine says
    def left_out(self, unread: Iterable[Unread]) -> None:
        """Transactions that a proposal left out."""
        self._host.pool.state_unread(unread, self._now_ms())

    def failed(self, bundles: Iterable[BundleFailed]) -> None:
        """Bundles that a proposal left out, those among them that did for want of state."""
        for one in bundles:
            if one.code in UNREAD_CODES:
                self._host.bundles.state_unread(one.hash, one.code, one.sentence, self._now_ms())

    # ------------------------------------------------------------ L1 blocks
    def offer_facts(self, facts: L1BlockFacts) -> None:
        """An L1 block that this node read."""
        wanted = {
            rollup_id: facts.hash
            for rollup_id, rollup in self._rollups().items()
            if rollup.is_remote and facts.of(rollup_id).deposits
        }
        self._deposits.pop(facts.number, None)
        if wanted:
            self._deposits[facts.number] = (facts, wanted)
            self._wake.set()

    def holds(self, number: int) -> bool:
        """Whether an L1 block may not be agreed yet."""
        return number in self._deposits

    # ------------------------------------------------------------ jobs
    def _begin(self) -> None:
        now_ms = self._now_ms()
        for rollup_id, rollup in self._rollups().items():
            if rollup.is_remote:
                self._begin_openings(rollup_id, rollup, now_ms)
                self._begin_queues(rollup_id, rollup, now_ms)
        self._begin_bundles(now_ms)
        self._begin_deposits(now_ms)

    def _begin_queues(self, rollup_id: RollupId, rollup: Rollup, now_ms: Milliseconds) -> None:
        key = ("queues", rollup_id)
        if key in self._busy:
            return
        queues = self._host.pool.to_read(rollup_id, now_ms, REMOTE_AHEAD_BATCH_MAX)
        if queues:
            hashes = [ready.transaction.hash for queue in queues for ready in queue]
            work = functools.partial(read_queues, rollup, rollup_id, queues)
            self._start(key, work, self._queues_tried, (rollup_id, hashes))

    def _queues_tried(self, what: tuple[RollupId, list[bytes]], found: Tried | None) -> None:
        rollup_id, hashes = what
        tried = Tried(hashes, [], [], []) if found is None else found
        pool, now_ms = self._host.pool, self._now_ms()
        pool.state_read(rollup_id, tried.read)
        pool.state_later(rollup_id, tried.later, now_ms)
        for found_unread, was_tried in ((tried.unread, True), (tried.untried, False)):
            waiting = [one for one in found_unread if pool.waits_for_state(rollup_id, one.hash)]
            pool.state_unread(waiting, now_ms, tried=was_tried)
        self._numbers["transactions"] += len(tried.read)
        self._numbers["failures"] += len(tried.unread)

    def _begin_bundles(self, now_ms: Milliseconds) -> None:
        rollups = self._rollups()
        remote = {rollup_id for rollup_id, rollup in rollups.items() if rollup.is_remote}
        slot = slot_at(self._host.ledger.parameters, now_ms)
        for bundle in self._host.bundles.to_read(now_ms, slot):
            touched = frozenset(remote & bundle.terms.rollup_ids)
            key = ("bundle", bundle.hash)
            running = sum(kind == "bundle" for kind, _ in self._busy)
            ready = all(rollups[leg.rollup_id].open_block is not None for leg in bundle.terms.legs)
            if key in self._busy or not touched or not ready or running >= _BUNDLES_AT_ONCE:
                continue
            sets, relayer = self._host.interop_sets, self._host.relayer
            deliver = no_deliveries if relayer is None else deliver_by(relayer, sets)
            work = functools.partial(read_bundle, dict(rollups), bundle, sets, deliver)
            self._start(key, work, self._bundle_tried, bundle)

    def _bundle_tried(self, bundle: DecodedBundle, missing: NativeError | None) -> None:
        if missing is None:
            self._host.bundles.state_read(bundle.hash)
            self._numbers["bundles"] += 1
        else:
            self._host.bundles.state_unread(bundle.hash, missing.code, str(missing), self._now_ms())
            self._numbers["failures"] += 1

    def _begin_openings(self, rollup_id: RollupId, rollup: Rollup, now_ms: Milliseconds) -> None:
        key = ("openings", rollup_id)
        newest = rollup.head.number
        if self._known_to.get(rollup_id, 0) >= newest + REMOTE_AHEAD_BLOCKS // 2 or not self._may(key, now_ms):
            return
        ledger = self._host.ledger
        record = next((one for one in ledger.rollups if one.rollup_id == rollup_id), None)
        if record is None:  # it leaves with the height that is being published
            return
        last = newest + REMOTE_AHEAD_BLOCKS
        numbers = range(max(newest + 1, self._known_to.get(rollup_id, 0) + 1), last + 1)
        blocks = [
            (number, block_timestamp_s(ledger.parameters, record.parameters, BlockNumber(number))) for number in numbers
        ]
        work = functools.partial(read_openings, rollup, blocks)
        self._start(key, work, lambda _, __: self._known_to.__setitem__(rollup_id, last), None)

    def _begin_deposits(self, now_ms: Milliseconds) -> None:
        """The oldest L1 block with deposits of each rollup."""
        l1 = self._host.ledger.l1
        agreed = -1 if l1 is None else l1.head.number
        for number in [one for one, (_, wanted) in self._deposits.items() if not wanted or one <= agreed]:
            del self._deposits[number]
        begun: set[RollupId] = set()
        for number, (facts, wanted) in sorted(self._deposits.items()):
            for rollup_id in [one for one in sorted(wanted) if one not in begun]:
                begun.add(rollup_id)
                key = ("deposits", rollup_id)
                rollup, attributes = self._rollups().get(rollup_id), self._attributes(facts, rollup_id)
                if rollup is None or attributes is None:
                    del wanted[rollup_id]
                elif self._may(key, now_ms):
                    work = functools.partial(read_deposits, rollup, attributes)
                    self._start(key, work, self._deposits_tried, (number, facts.hash, rollup_id))

    def _deposits_tried(self, place: tuple[int, Hash32, RollupId], _: object) -> None:
        number, block_hash, rollup_id = place
        facts, wanted = self._deposits.get(number, (None, {}))
        if facts is not None and facts.hash == block_hash:
            wanted.pop(rollup_id, None)

    def _attributes(self, facts: L1BlockFacts, rollup_id: RollupId) -> Attributes | None:
        """What would open the rollup's next block with these deposits."""
        ledger = self._host.ledger
        record = next((one for one in ledger.rollups if one.rollup_id == rollup_id), None)
        config = None if ledger.l1 is None else ledger.l1.binding(rollup_id)
        if record is None or config is None or not record.epochs:
            return None
        timestamp_s = block_timestamp_s(ledger.parameters, record.parameters, BlockNumber(record.newest_number + 1))
        system, deposits = record.epochs[-1].system, facts.of(rollup_id).deposits
        return block_attributes(Seconds(timestamp_s), facts.info, 0, system, deposits=deposits, fork=config.fork)

    # ------------------------------------------------------------ running them
    def _may(self, key: _Key, now_ms: Milliseconds) -> bool:
        return key not in self._busy and self._not_before_ms.get(key, 0) <= now_ms

    def _start(self, key: _Key, work: Callable[[], Any], then: Callable[[Any, Any], None], what: Any) -> None:
        self._busy.add(key)
        task = asyncio.create_task(self._do(key, work, then, what), name="read-ahead")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, key: _Key, work: Callable[[], Any], then: Callable[[Any, Any], None], what: Any) -> None:
        """Runs a job in a thread. One that fails for want of state is tried again after a growing pause; one that fails
        otherwise is done: execution will say what is wrong."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except NativeError as error:
            if is_unread(error):
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                pause_ms = min(REMOTE_RETRY_MS_FIRST << min(failures - 1, _DOUBLINGS_MAX), REMOTE_RETRY_MS_MAX)
                self._not_before_ms[key] = self._now_ms() + pause_ms
                self._numbers["failures"] += 1
                self._reasons[key] = f"{error.code}: {error}"
                return
            _log.warning("read_ahead_failed", job=key[0], code=error.code, reason=str(error))
            found = None
        finally:
            self._busy.discard(key)
            self._wake.set()
        self._failures.pop(key, None)
        self._not_before_ms.pop(key, None)
        self._reasons.pop(key, None)
        then(what, found)

    # ------------------------------------------------------------ for people
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each rollup whose deposits hold L1 agreement up, for the health page: all rollups that are
        bound to the L1 wait at the end of their sequencer drift."""
        found = []
        for rollup_id in sorted({one for _, wanted in self._deposits.values() for one in wanted}):
            reason = self._reasons.get(("deposits", rollup_id))
            if reason is not None:
                number = min(number for number, (_, wanted) in self._deposits.items() if rollup_id in wanted)
                found.append(
                    f"L1 block {number} is not agreed: its deposits to rollup {rollup_id} need state that cannot be "
                    f"read: {reason}"
                )
        return tuple(found)

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics."""
        waiting = self._host.pool.waiting_for_state() + self._host.bundles.waiting_for_state()
        return {**self._numbers, "waiting": waiting, "held_l1_blocks": len(self._deposits)}
