"""A running node: storage, application, pool and engine wired together, started and stopped as one.

Lifecycle
    start   lock the data directory, open the log (cut a torn append), restore the state, open the pool, start the
    engine
    run     the engine decides heights; each is published to the pool, then to subscribers, then counted
    stop    finish the height in progress, write a snapshot, free the directory

`Node.start` is a context manager around one TaskGroup: whatever fails inside ends everything inside. The node
knows neither
RPC nor the command line; they are given the node.
"""

import asyncio
import contextlib
import gc
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from plait import __version__
from plait.engines.cometbft.engine import CometEngine
from plait.engines.cometbft.rpc_client import CometRpc
from plait.engines.decision import Decision
from plait.engines.solo import SoloEngine
from plait.errors import ConfigurationError
from plait.execution.messages import InteropSets
from plait.ledger.accounts_view import EconomyAccounts
from plait.ledger.economy import Economy
from plait.ledger.l1 import L1State
from plait.ledger.state import LedgerState
from plait.mempool import BundlePool, Pool
from plait.mempool.actions import ActionPool
from plait.mempool.l1_items import L1Items
from plait.native import NativeError, Rollup, recovery_statistics
from plait.node.block_store import explained
from plait.node.block_store import remove as remove_store
from plait.node.bus import EffectBus
from plait.node.clock import NodeClock
from plait.node.config import NetworkConfig, NodeConfig, decode_network, embedded_genesis, fingerprint
from plait.node.engine import Engine, comet_genesis, prepare_comet
from plait.node.health import Health, health_of
from plait.node.install import discard_unfinished
from plait.node.joined import Arrivals, NodeSource, source_of
from plait.node.l1_checkpoints import L1Checkpoints
from plait.node.l1_view import l1_view
from plait.node.logging import get_logger
from plait.node.lost_log import require_log, require_no_later_snapshot
from plait.node.message_book import MessageBook
from plait.node.metrics import Metrics
from plait.node.read_ahead import ReadAhead, require_one_operator
from plait.node.relayer import relayer_of
from plait.node.remotes import IMPORTS, REMOTE, Remotes
from plait.node.restore import Restored, genesis_of, restore
from plait.node.settlement import Settlement
from plait.node.settling import Settling
from plait.node.snapshot_keeper import SnapshotKeeper
from plait.node.spread import Pools, Spreader, send_through
from plait.node.state_sync import Home, SnapshotService
from plait.node.take_over import Taken
from plait.node.unwinding import follow_unwound
from plait.ordering.queues import SenderQueue
from plait.protocol.grid import slot_at
from plait.protocol.requests import ApplicationInfo, BundleFailed
from plait.protocol.sub_block import sets_of
from plait.rollups.opstack.driver_state import EngineStatus
from plait.storage import NETWORK_FILE, DataDirectory, DecidedLog, Files, MemoryLog, Snapshots
from plait.storage.network_snapshots import NetworkSnapshots
from plait.types import NetworkParameters, RollupId, RollupParameters, Slot

SWITCH_INTERVAL_S = 0.0005
"""How long a Python thread may keep the interpreter while another waits: bounds what the worker adds to a request."""

GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""Allocations between collections of cyclic garbage, per generation. A pool holds many long-lived objects without
cycles; with Python's default of 700 the collector took a seventh of the event loop under load and freed nothing."""


class Part(Protocol):
    """Something of a node that runs until it is cancelled."""

    async def run(self) -> None:
        """Runs."""


class RollupHandle(msgspec.Struct, frozen=True):
    """A rollup of a running node."""

    rollup_id: RollupId
    native: Rollup
    parameters: RollupParameters
    is_active: bool = True
    """Whether this network orders it; one that left is only read."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a node's disk, or its memory, holds."""

    directory: DataDirectory | None
    network: NetworkConfig
    genesis: Mapping[RollupId, bytes]
    log: DecidedLog | MemoryLog
    snapshots: Snapshots | None
    network_snapshots: NetworkSnapshots | None = None
    files: Files = msgspec.field(default_factory=Files)


class Node:
    """A started node. Make one with `Node.start`."""

    version = __version__

    def __init__(self, config: NodeConfig, stored: Stored, restored: Restored, source: NodeSource) -> None:
        self.config = config
        self.network = stored.network
        self.genesis = stored.genesis
        """op-geth's genesis JSON per rollup."""
        self.parameters: NetworkParameters = stored.network.parameters()
        self.log = stored.log
        self.restored = restored
        self.started_at_s = time.time()
        self.metrics = Metrics()
        self.bus = EffectBus()
        self.pool = Pool()
        self.bundles = BundlePool()
        self.messages = MessageBook()
        self.actions = ActionPool(
            self.parameters.network_id, lambda: EconomyAccounts(restored.application.ledger.economy)
        )
        self.l1_items = L1Items(self.parameters.network_id, l1_view(lambda: restored.application.ledger))
        """What this node, and others, say of the L1."""
        self.relayer = relayer_of(config, stored.network)
        self._application = restored.application
        self._source = source
        self.arrivals = Arrivals(source, restored.store, lambda: restored.application.ledger)
        """Chains that existed and are going to join."""
        self.rollups: dict[RollupId, RollupHandle] = {}
        self.ahead: ReadAhead | None = None
        """Reads state that another node holds before proposals need it; None where validators order."""
        self._follow_registry(restored.application.ledger)
        self.clock = NodeClock(not_before_ms=restored.application.info().time_ms)
        self.comet = CometRpc(config.comet_rpc_url()) if config.engine == "cometbft" else None
        """CometBFT's own RPC; None where one process orders."""
        natives = {rollup_id: handle.native for rollup_id, handle in self.rollups.items()}
        require_one_operator(natives, config.engine)
        if config.engine == "solo":
            self.ahead = self._read_ahead()
            if any(native.is_remote for native in natives.values()):
                self.ahead.begin()
        self.spreader = None if self.comet is None else self._spreader(self.comet)
        """Sends what clients hand in here to the other nodes; its intake takes what they send."""
        self._logger = get_logger("node")
        self._stopping = asyncio.Event()
        self._keeper = self._snapshot_keeper(stored)
        self.engine: Engine = self._solo() if config.engine == "solo" else self._comet(stored)
        self._loop = asyncio.get_running_loop()
        self._add_statistics()
        self.settling = Settling(self) if config.l1 or config.engines or config.batcher else None
        """What connects it to an L1 and to execution engines; None where nothing does."""

    # ------------------------------------------------------------ lifecycle
    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls,
        network: NetworkConfig | None,
        config: NodeConfig,
        *,
        genesis: Mapping[RollupId, bytes] | None = None,
        files: Files | None = None,
    ) -> AsyncIterator["Node"]:
        """Starts a node, hands it out when its state is restored, and stops it at the end of the block.

        Args:
            network: None to go on with what the data directory holds.
            config: local settings.
            genesis: op-geth's genesis JSON per rollup; default: embedded ones funded with the development accounts.
            files: the disk (tests pass one that fails).

        Raises:
            ConfigurationError, Unavailable: the configuration or the data directory cannot be used.
            InvariantBroken: the log is damaged or does not replay.
            Exception: whatever a part failed with while running; an ExceptionGroup when several did.
        """
        config.check()
        started = time.perf_counter()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        stored = open_storage(network, config, genesis=genesis, files=files)
        node: Node | None = None
        try:
            source = source_of(stored.network, None if config.data_dir is None else config.data_dir / IMPORTS)
            node = cls(config, stored, await asyncio.to_thread(_restore, config, stored, source), source)
            node._note_start(time.perf_counter() - started)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(node.engine.run(), name="engine")
                    beside = [group.create_task(part.run(), name=name) for name, part in node._parts().items()]
                    try:
                        yield node
                    finally:
                        node.stop()
                        for task in beside:
                            task.cancel()
            except BaseExceptionGroup as failed:
                # One failure is raised as it is; only several at once stay a group.
                if len(failed.exceptions) > 1:
                    raise
                raise _explained(failed.exceptions[0], stored) from None
            await asyncio.to_thread(node._keeper.close)
        finally:
            if node is not None:
                if node.comet is not None:
                    await node.comet.close()
                node._close()
            stored.log.close()
            if stored.directory is not None:
                stored.directory.close()

    def _parts(self) -> dict[str, Part]:
        """What runs beside the engine, by name."""
        parts: dict[str, Part | None] = {
            "snapshots": self._keeper,
            "read-ahead": self.ahead,
            "spreader": self.spreader,
            "arrivals": None if self.l1 is None else self.arrivals,
            "settling": self.settling,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def stop(self) -> None:
        """Asks the node to stop after the height in progress."""
        self._stopping.set()
        self.engine.stop()

    async def stopped(self) -> None:
        """Returns when `stop` was called."""
        await self._stopping.wait()

    # ------------------------------------------------------------ reads
    def info(self) -> ApplicationInfo:
        """Where the committed state stands."""
        return self._application.info()

    @property
    def economy(self) -> Economy:
        """Accounts, stake, governance and registry, as committed."""
        return self._application.ledger.economy

    @property
    def ledger(self) -> LedgerState:
        """The committed ledger."""
        return self._application.ledger

    @property
    def l1(self) -> L1State | None:
        """What is agreed about the L1; None where it is synthetic."""
        return self._application.ledger.l1

    @property
    def settlement(self) -> Settlement | None:
        """How far the L1 has the rollups' blocks; None where it is synthetic."""
        return None if self.settling is None else self.settling.settlement

    @property
    def checkpoints(self) -> L1Checkpoints | None:
        """What this node signs for L1; None where it has no attester."""
        return None if self.settling is None else self.settling.checkpoints

    @property
    def engines(self) -> list[EngineStatus]:
        """The execution engines that are driven, by ascending chain id."""
        return [] if self.settling is None else [driver.status for _, driver in sorted(self.settling.drivers.items())]

    @property
    def interop_sets(self) -> InteropSets:
        """Which rollups execute each other's messages."""
        return sets_of(self._application.ledger)

    def health(self) -> Health:
        """Whether the node makes progress and is ready for traffic. What is wrong with an L1 or an engine is a reason
        and nothing more: the node goes on without them."""
        found = health_of(
            self.info(),
            self.parameters,
            self.clock.now_ms(),
            stopping=self._stopping.is_set(),
            lead_ms=self.clock.lead_ms(),
        )
        waits = self.engine.missing if isinstance(self.engine, SoloEngine) else ""
        if waits:
            text = f"Height {found.height + 1} waits for state that another node holds: {waits}"
            found = msgspec.structs.replace(found, reasons=(*found.reasons, text))
        settling = () if self.settling is None else self.settling.reasons()
        ahead = () if self.ahead is None else self.ahead.reasons()
        more = (*self.restored.remotes.reasons(), *ahead, *self.arrivals.reasons(), *settling)
        return msgspec.structs.replace(found, reasons=(*found.reasons, *more)) if more else found

    # ------------------------------------------------------------ inside
    def _solo(self) -> SoloEngine:
        return SoloEngine(
            self._application,
            self.log,
            parameters=self.parameters,
            clock=self.clock.now_ms,
            candidates=self._candidates,
            publish=self._publish,
            bundles=self.bundles.candidates,
            failed=self._failed,
            unread=lambda unread: None if self.ahead is None else self.ahead.left_out(unread),
            relayer=self.relayer,
            relays=self.messages.offer,
            actions=self.actions.candidates,
            l1_items=self.l1_items.candidates,
        )

    def _failed(self, failed: Sequence[BundleFailed], slot: Slot) -> None:
        self.bundles.on_failed(failed, slot)
        if self.ahead is not None:
            self.ahead.failed(failed)

    def _read_ahead(self) -> ReadAhead:
        """For rollups of which another node holds the state."""

        def rollups() -> dict[RollupId, Rollup]:
            return {rollup_id: one.native for rollup_id, one in self.rollups.items() if one.is_active}

        return ReadAhead(self, rollups, self.clock.now_ms)

    def _comet(self, stored: Stored) -> CometEngine:
        home = self.config.data_dir
        assert home is not None, "NodeConfig.check"
        return CometEngine(
            self._application,
            self.log,
            home=home,
            program=prepare_comet(home, stored.network, self.config),
            genesis=comet_genesis(stored.network, stored.genesis),
            parameters=self.parameters,
            candidates=self._candidates,
            publish=self._publish,
            logger=get_logger("engine"),
            bundles=self.bundles.candidates,
            failed=self.bundles.on_failed,
            relayer=self.relayer,
            relays=self.messages.offer,
            actions=self.actions.candidates,
            l1_items=self.l1_items.candidates,
            intake=None if self.spreader is None else self.spreader.intake,
            snapshots=self._keeper.service,
            trace_dir=self.config.trace_dir,
        )

    def _spreader(self, comet: CometRpc) -> Spreader:
        spreader = Spreader(
            Pools(self.pool, self.bundles, self.actions, self.l1_items),
            send_through(comet),
            now_ms=self.clock.now_ms,
            slot=lambda: slot_at(self.parameters, self.clock.now_ms()),
        )
        spreader.on_decided(self.info().height)
        return spreader

    def _candidates(self) -> dict[RollupId, list[SenderQueue]]:
        """Transactions for a proposal. Of rollups whose data wait for L1 no more than the throttle allows per block,
        shared out over the block's sub-blocks; a policy of this node, not a rule."""
        batcher = None if self.settling is None else self.settling.batcher
        budget = None if batcher is None else batcher.da_budget()
        if budget is None or self.l1 is None:
            return self.pool.candidates()
        share = max(budget.transaction_bytes, budget.block_bytes // self.parameters.sub_blocks_per_slot)
        return self.pool.candidates(throttled={RollupId(config.chain_id): share for config in self.l1.bindings})

    def _publish(self, decision: Decision) -> None:
        effect = decision.effect
        if effect.unwound:
            relayer = None if self.relayer is None else self.relayer.address
            follow_unwound(effect, self.pool, self.bundles, relayer, self._logger)
        if decision.dropped:
            self.pool.drop(decision.dropped, effect.time_ms)
        self.pool.on_decided(effect)
        self.bundles.on_decided(effect)
        self.messages.on_decided(effect, decision.relays_refused)
        self.actions.drop((failed.hash, failed.code, failed.sentence) for failed in decision.actions_failed)
        self.actions.on_decided((action.hash for action in effect.actions), effect.height, effect.time_ms)
        self.l1_items.on_decided()
        if effect.ledger_effects or self.l1 is not None:
            self._follow_registry(self._application.ledger)
        if self.spreader is not None:
            self.spreader.on_decided(effect.height)
        if self.settling is not None:
            self.settling.on_decided(effect)
        self.bus.publish(effect)
        self.metrics.decided(decision)
        self._keeper.on_decided(effect)

    def _snapshot_keeper(self, stored: Stored) -> SnapshotKeeper:
        service: SnapshotService | None = None
        if stored.directory is not None and stored.snapshots is not None and stored.network_snapshots is not None:
            assert isinstance(stored.log, DecidedLog), "a log on disk goes with a directory"
            source = self._source
            service = SnapshotService(
                self._application,
                Home(
                    directory=stored.directory,
                    network=fingerprint(stored.network, stored.genesis),
                    log=stored.log,
                    snapshots=stored.snapshots,
                    network_snapshots=stored.network_snapshots,
                    store=self.restored.store,
                    genesis_of=lambda ledger: genesis_of(ledger, stored.genesis, source),
                    source=source,
                    files=stored.files,
                ),
                every_heights=self.config.network_snapshot_interval(),
                keep_heights=self.config.keep_heights,
                on_restored=self._on_restored,
                logger=get_logger("snapshots"),
            )
        return SnapshotKeeper(
            self._application,
            config=self.config,
            log=stored.log,
            store=self.restored.store,
            snapshots=stored.snapshots,
            service=service,
            metrics=self.metrics,
            logger=self._logger,
            since_heights=self.restored.replayed_heights,
            since_transactions=self.restored.replayed_transactions,
            remotes=self.restored.remotes,
        )

    def _on_restored(self, taken: Taken) -> None:
        """In the engine's thread: the state moved to a snapshot's."""
        self._loop.call_soon_threadsafe(self._follow_registry, taken.ledger)

    def _follow_registry(self, ledger: LedgerState) -> None:
        """Rollups that joined, whose parameters changed, or that left since this node last looked."""
        for record in ledger.rollups:
            held = self.rollups.get(record.rollup_id)
            if held is not None and held.parameters == record.parameters:
                continue
            native = self._application.rollups[record.rollup_id]
            if native.is_remote and self.ahead is not None:
                self.ahead.begin()
            self.rollups[record.rollup_id] = RollupHandle(record.rollup_id, native, record.parameters)
            self.bundles.add_rollup(native, record.parameters)
            if held is None:
                self.pool.add_rollup(native, record.parameters)
            else:
                self.pool.update_rollup(record.parameters, ledger.time_ms)
        for rollup_id in self.rollups.keys() - set(ledger.rollup_ids):
            if self.rollups[rollup_id].is_active:
                self.rollups[rollup_id] = msgspec.structs.replace(self.rollups[rollup_id], is_active=False)
                self.pool.close_rollup(rollup_id)
                self.bundles.remove_rollup(rollup_id)

    def _write_snapshot(self) -> None:
        """Writes the node's own snapshot now. Between heights."""
        self._keeper.write_now()

    def _close(self) -> None:
        self.bus.close()
        self.restored.remotes.close()
        try:
            self.restored.store.close()
        except NativeError as error:
            # Derived data: the next start replays what the store did not take.
            self._logger.warning("store_not_closed", reason=str(error))
        self._logger.info("stopped", height=self.info().height)

    def _note_start(self, seconds: float) -> None:
        restored = self.restored
        self.metrics.ready(seconds)
        for sentence in restored.skipped:
            self._logger.warning("snapshot_skipped", reason=sentence)
        self._logger.info(
            "started",
            height=self.info().height,
            snapshot_height=restored.snapshot_height,
            replayed_heights=restored.replayed_heights,
            replayed_transactions=restored.replayed_transactions,
            cut_bytes=self.log.statistics()["cut_bytes"],
            seconds=round(seconds, 3),
        )

    def _add_statistics(self) -> None:
        add = self.metrics.statistics.add
        add("log", self.log.statistics)
        add("bus", self.bus.statistics)
        add("engine", lambda: msgspec.structs.asdict(self.engine.statistics()))
        add("store", self.restored.store.statistics)
        add("remote", self.restored.remotes.statistics)
        if self.ahead is not None:
            add("read_ahead", self.ahead.statistics)
        add("pool", self._pool_numbers)
        add("bundles", self.bundles.statistics)
        add("snapshots", self._keeper.statistics)
        add("messages", self.messages.statistics)
        add("actions", lambda: {"actions": len(self.actions), "decided": self.actions.decided_count})
        if self.spreader is not None:
            add("spread", self.spreader.statistics)
        if isinstance(self.engine, CometEngine):
            rejected = self.engine.rejected
            add("proposals_rejected", lambda: dict(rejected))
        add("recovery", recovery_statistics)
        add("clock", lambda: {"lead_ms": self.clock.lead_ms()})

    def _pool_numbers(self) -> dict[str, int]:
        pool = self.pool
        return {
            "transactions": pool.count,
            "transactions_max": pool.limits.transactions_max,
            "bytes": pool.bytes,
            "bytes_max": pool.limits.bytes_max,
            "admitted": pool.admitted_count,
            "refused": sum(pool.refused.values()),
        }


def open_storage(
    network: NetworkConfig | None,
    config: NodeConfig,
    *,
    genesis: Mapping[RollupId, bytes] | None = None,
    files: Files | None = None,
) -> Stored:
    """Locks and opens the data directory, creating it when it is new; or storage in memory.

    Raises:
        ConfigurationError: `network_mismatch`, `network_missing`, `data_directory_unusable`.
        Unavailable: `data_directory_in_use`.
        InvariantBroken: `log_damaged`, `log_behind_state`.
    """
    if network is not None:
        network.check()
    if config.data_dir is None:
        if network is None:
            raise ConfigurationError("A node in memory needs a network to create.", code="network_missing")
        return Stored(
            directory=None,
            network=network,
            genesis=genesis or embedded_genesis(network),
            log=MemoryLog(),
            snapshots=None,
        )
    disk = files if files is not None else Files()
    if network is None and not (config.data_dir / NETWORK_FILE).exists():
        raise ConfigurationError(
            f"{config.data_dir} holds no network; create one with `plait devnet`, or name the right directory.",
            code="network_missing",
            path=str(config.data_dir),
        )
    directory = DataDirectory(config.data_dir)
    try:
        if discard_unfinished(directory, disk):
            get_logger("node").warning("restore_discarded", path=str(directory.path))
        require_log(directory)
        found, found_genesis = _network_of(directory, network, genesis, disk)
        name = fingerprint(found, found_genesis)
        return Stored(
            directory=directory,
            network=found,
            genesis=found_genesis,
            log=DecidedLog(directory.log, name, files=disk),
            snapshots=Snapshots(directory.snapshots, name, files=disk),
            network_snapshots=NetworkSnapshots(directory.network_snapshots, name, files=disk),
            files=disk,
        )
    except BaseException:
        directory.close()
        raise


def _network_of(
    directory: DataDirectory, network: NetworkConfig | None, genesis: Mapping[RollupId, bytes] | None, files: Files
) -> tuple[NetworkConfig, Mapping[RollupId, bytes]]:
    """What the directory was created with; a new directory is created with what was given.

    The configuration is written last: without it the directory counts as new.
    """
    if not directory.network.exists():
        assert network is not None, "open_storage looked"
        created = genesis or embedded_genesis(network)
        directory.genesis.mkdir(exist_ok=True)
        for rollup_id, data in created.items():
            files.write_whole(directory.genesis / f"{rollup_id}.json", data)
        files.write_whole(directory.network, network.encode())
        return network, created
    found = decode_network(directory.network.read_bytes(), str(directory.network))
    if network is not None and found != network:
        raise ConfigurationError(
            f"{directory.path} was created with other parameters: {_difference(found, network)}. Use the same ones, "
            "choose another directory, or start anew with --reset.",
            code="network_mismatch",
            path=str(directory.path),
        )
    return found, {
        RollupId(rollup.chain_id): (directory.genesis / f"{rollup.chain_id}.json").read_bytes()
        for rollup in found.rollups
    }


def _difference(found: NetworkConfig, asked: NetworkConfig) -> str:
    """The first field in which two networks differ, in words."""
    for name in NetworkConfig.__struct_fields__:
        if name != "rollups" and getattr(found, name) != getattr(asked, name):
            return f"{name} is {getattr(found, name)} there, {getattr(asked, name)} was asked for"
    if len(found.rollups) != len(asked.rollups):
        return f"it has {len(found.rollups)} rollups, {len(asked.rollups)} were asked for"
    for one, other in zip(found.rollups, asked.rollups, strict=True):
        for name in one.__struct_fields__:
            if getattr(one, name) != getattr(other, name):
                was, now = getattr(one, name), getattr(other, name)
                return f"{name} of rollup {one.chain_id} is {was} there, {now} was asked for"
    return "they are the same"


def reset(path: Path) -> None:
    """Removes the network that a data directory holds, and nothing else in it.

    Raises:
        Unavailable: `data_directory_in_use`.
    """
    with DataDirectory(path) as directory:
        # What the log led to goes before the log: an interruption must not look like a log that was lost.
        shutil.rmtree(directory.snapshots, ignore_errors=True)
        shutil.rmtree(directory.network_snapshots, ignore_errors=True)
        shutil.rmtree(directory.restore, ignore_errors=True)
        remove_store(directory.store)
        directory.network.unlink(missing_ok=True)
        shutil.rmtree(directory.genesis, ignore_errors=True)
        shutil.rmtree(directory.log, ignore_errors=True)
        shutil.rmtree(path / REMOTE, ignore_errors=True)
        directory.restoring.unlink(missing_ok=True)


def _restore(config: NodeConfig, stored: Stored, source: NodeSource) -> Restored:
    logger = get_logger("node")
    if stored.directory is not None and stored.snapshots is not None:
        require_no_later_snapshot(stored.directory.path, stored.log.height, stored.snapshots)
    remotes = Remotes(config.data_dir)
    source.remotes = remotes if config.engine == "solo" else None
    return restore(
        stored.network,
        stored.genesis,
        source,
        stored.log,
        snapshots=stored.snapshots if config.snapshots else None,
        network_snapshots=stored.network_snapshots,
        store_path=None if stored.directory is None else stored.directory.store,
        recheck_own=config.recheck_own,
        imports=None if config.data_dir is None else config.data_dir / IMPORTS,
        remotes=remotes,
        waiting=lambda error: logger.warning("replay_waits", code=error.code, reason=str(error)),
        progress=lambda height: logger.debug("replayed", height=height),
        on_damaged_store=lambda reason: logger.warning("store_set_aside", reason=reason, kept_as="store.damaged"),
    )


def _explained(error: BaseException, stored: Stored) -> BaseException:
    """The error, in an operator's words when it is the block store's."""
    if isinstance(error, NativeError) and stored.directory is not None:
        return explained(error, stored.directory.store) or error
    return error


__all__ = ["Node", "RollupHandle", "Stored", "open_storage", "reset"]
