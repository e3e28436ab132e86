"""What connects a node to real OP Stack chains: its L1, the engines that it drives, and the batches that it posts.

Specification
    - Reads the L1 and says what it sees (`L1Reporter`), follows what batches there make of the rollups (`Settlement`),
      keeps every engine at the rollup's blocks (`EngineDriver`), and posts blocks to L1 (`Batcher`), each as far as the
      node's configuration asks for it. With an attester it signs checkpoints for L1 (`L1Checkpoints`), and it watches
      forced inclusions where it is told to (`ForcedWatch`).
    - Every decided sub-block wakes drivers, batcher and settlement; they look at the rollups themselves, so that a
      lost notice costs time and nothing else.
    - Nothing here can stop the node. A part that fails is started again after SETTLING_RESTART_S, with its reason in
      the log and in `status`; the other parts and the other rollups go on.
Level 6.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from plait.derivation.rollup_config import OpStackConfig
from plait.errors import ConfigurationError, PlaitError
from plait.l1.attestations import L1Contract
from plait.l1.beacon import BeaconClient
from plait.l1.client import L1Client
from plait.limits import L1_ATTEMPTS_MAX, SETTLING_RESTART_S
from plait.node.forced_watch import ForcedWatch
from plait.node.l1_alarms import RollupPosition
from plait.node.l1_checkpoints import L1Checkpoints
from plait.node.l1_paying import CheckpointPayer
from plait.node.l1_positions import position_of
from plait.node.l1_reporter import L1Reporter, watcher_of
from plait.node.logging import get_logger
from plait.node.settlement import FollowedRollup, Settlement
from plait.rollups.batcher.client_access import ClientAccess
from plait.rollups.batcher.inbox import InboxReader
from plait.rollups.batcher.journal import Journal
from plait.rollups.batcher.l1_transactions import address_of_key
from plait.rollups.batcher.service import Batcher, PostedRollup
from plait.rollups.batcher.sidecars import commitment_of
from plait.rollups.opstack.blocks import NativeBlocks
from plait.rollups.opstack.driver import DriverSettings, EngineDriver
from plait.rollups.opstack.driver_state import SettledHeads
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.jwt import read_secret
from plait.types import Address, RollupId
from plait.types.l1 import RollupSafe

if TYPE_CHECKING:
    from plait.node.batcher_settings import BatcherSettings
    from plait.node.config import (
        AttesterSettings,
        EngineConnection,
        ForcedInclusionSettings,
        L1Connection,
    )
    from plait.node.node import Node
    from plait.protocol.effects import SubBlockDecided

_log = get_logger("settling")


class Settling:
    """The services of one node. `run` is their task.

    Args:
        node: started, with a configuration that names an L1, engines or a batcher.

    Raises:
        ConfigurationError: `l1_missing`, `engine_jwt_unusable`, `rollup_unknown`: what the configuration names cannot
            be used.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        config = node.config
        if config.batcher is not None and (config.l1 is None or node.l1 is None):
            raise ConfigurationError("A node that posts batches needs an L1 to post them to.", code="l1_missing")
        self.reporter: L1Reporter | None = None
        self.settlement: Settlement | None = None
        self.batcher: Batcher | None = None
        self.checkpoints: L1Checkpoints | None = None
        self.forced: ForcedWatch | None = None
        self.drivers: dict[RollupId, EngineDriver] = {}
        self.failures: dict[str, PlaitError] = {}
        """What a part that is not running failed with, by the part's name."""
        self._clients: list[L1Client | BeaconClient] = []
        self._work: dict[str, Callable[[], Awaitable[None]]] = {}
        if config.l1 is not None and node.l1 is not None:
            self._add_settlement(config.l1)
            self._add_reporter(config.l1)
            if config.batcher is not None:
                self._add_batcher(config.l1.rpc_url, config.batcher)
        if config.l1 is not None and config.attester is not None:
            self._add_checkpoints(config.l1.rpc_url, config.attester)
        if config.l1 is not None and config.forced_inclusion is not None:
            self._add_forced_watch(config.l1.rpc_url, config.forced_inclusion)
        self._waiting: list[EngineConnection] = []
        """Engines of chains that may still join."""
        self._group: asyncio.TaskGroup | None = None
        for connection in config.engines:
            if RollupId(connection.chain_id) in node.rollups or node.l1 is None:
                self._add_driver(connection)
            else:
                self._waiting.append(connection)

    async def run(self) -> None:
        """Runs all services until it is cancelled."""
        async with contextlib.AsyncExitStack() as stack:
            for client in self._clients:
                await stack.enter_async_context(client)
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._follow(), name="settling")
                for name, work in self._work.items():
                    group.create_task(self._keep(name, work), name=name)

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        return {"engines": len(self.drivers), "failed": len(self.failures)}

    def reasons(self) -> tuple[str, ...]:
        """One sentence for each thing that is not as it should be, for the health page."""
        found = [one.message for one in self.failures.values()]
        if self.reporter is not None:
            found += self.reporter.reasons
        for _, driver in sorted(self.drivers.items()):
            status = driver.status
            if status.code:
                found.append(f"Engine of rollup {status.chain_id}: {status.message}")
        for part in (self.settlement, self.batcher):
            if part is not None and part.reason:
                found.append(part.reason)
        for watching in (self.checkpoints, self.forced):
            if watching is not None:
                found += watching.reasons
        return tuple(dict.fromkeys(found))  # several parts may miss one L1

    def status(self) -> dict[str, Any]:
        """For people: L1, engines and batcher, each with what is wrong with it."""
        return {
            "l1": None if self.reporter is None else self._l1_status(self.reporter),
            "engines": [_engine_status(driver) for _, driver in sorted(self.drivers.items())],
            "settlement": None if self.settlement is None else self.settlement.status(),
            "batcher": None if self.batcher is None else self.batcher.status(),
            "checkpoints": None if self.checkpoints is None else self.checkpoints.status(),
            "forcedInclusion": None if self.forced is None else self.forced.status(),
            "failures": {name: {"code": one.code, "message": one.message} for name, one in self.failures.items()},
        }

    # ------------------------------------------------------------ parts
    def _add_settlement(self, connection: L1Connection) -> None:
        node, state = self._node, self._node.l1
        assert state is not None, "asked before"
        beacon = None
        if connection.beacon_url:
            beacon = BeaconClient(connection.beacon_url, commit=commitment_of)
            self._clients.append(beacon)
        home = node.config.data_dir
        self.settlement = Settlement(
            self._followed,
            InboxReader(
                self._client(connection.rpc_url),
                l1_chain_id=state.terms.chain_id,
                bindings=lambda: tuple(self._bindings().values()),
                beacon=beacon,
                own_blobs=lambda: {} if self.batcher is None else self.batcher.own_blobs(),
            ),
            directory=None if home is None else home / "settlement",
            verifiers={RollupId(one.chain_id): one.verifier_url for one in node.config.engines if one.verifier_url},
            changed=self._wake_drivers,
        )
        node.metrics.statistics.add("settlement", self.settlement.statistics)
        self._work["settlement"] = self.settlement.run

    def _add_reporter(self, connection: L1Connection) -> None:
        node, state, settlement = self._node, self._node.l1, self.settlement
        assert state is not None, "asked before"
        assert settlement is not None, "added before"
        client = self._client(connection.rpc_url)
        seed = read_secret(connection.reporter_key) if connection.reporter_key is not None else None
        if seed is None and node.config.engine == "cometbft" and node.config.data_dir is not None:
            from plait.node.home import consensus_seed  # it imports the node

            seed = consensus_seed(node.config.data_dir)
        self.reporter = L1Reporter(
            watcher=watcher_of(client, state),
            network_id=node.parameters.network_id,
            seed=seed,
            agreed=lambda: node.l1,
            submit=lambda raw: node.l1_items.offer_report(raw, own=True),
            offer_facts=node.l1_items.offer_facts,
            safe=self._safe_reports,
            conflicts=settlement.conflict_reports,
            positions=self._positions,
        )
        node.metrics.statistics.add("l1", self.reporter.statistics)
        self._work["l1"] = self.reporter.run

    def _add_batcher(self, rpc_url: str, settings: BatcherSettings) -> None:
        node, state = self._node, self._node.l1
        assert state is not None, "asked before"
        key = read_secret(settings.key_file)
        home = node.config.data_dir
        journal = None if home is None else home / "batcher" / address_of_key(key).hex()
        self.batcher = Batcher(
            self._posted,
            ClientAccess(self._client(rpc_url)),
            Journal(journal),
            key,
            l1_chain_id=state.terms.chain_id,
            terms=settings.terms(),
            now_s=time.time,
            logger=get_logger("batcher"),
            floor=None if self.settlement is None else self.settlement.floor,
        )
        node.metrics.statistics.add("batcher", self.batcher.statistics)
        self._work["batcher"] = self.batcher.run

    def _add_checkpoints(self, rpc_url: str, settings: AttesterSettings) -> None:
        node = self._node
        chain_id = settings.chain_id if node.l1 is None else node.l1.terms.chain_id
        if not chain_id:
            raise ConfigurationError(
                "An attester needs attester.chain_id where the network names no L1.", code="l1_missing"
            )
        home = node.config.data_dir
        directory = None if home is None else home / "attester"
        client = self._client(rpc_url)
        payer = None
        if settings.payer_key_file is not None:
            payer = CheckpointPayer(
                client,
                [self._client(url, attempts_max=1) for url in settings.peers],
                read_secret(settings.payer_key_file),
                directory=directory,
                pay_after_s=settings.pay_after_s,
                fee_cap_max_wei=settings.fee_cap_max_wei,
            )
        self.checkpoints = L1Checkpoints(
            client=client,
            contract=L1Contract(chain_id, Address(bytes.fromhex(settings.registry[2:]))),
            network_id=node.parameters.network_id,
            interval_heights=settings.interval_heights,
            ledger=node.ledger,
            key=None if settings.key_file is None else read_secret(settings.key_file),
            payer=payer,
            directory=directory,
        )
        node.metrics.statistics.add("l1_checkpoints", self.checkpoints.statistics)
        self._work["checkpoints"] = self.checkpoints.run

    def _add_forced_watch(self, rpc_url: str, settings: ForcedInclusionSettings) -> None:
        self.forced = ForcedWatch(
            client=self._client(rpc_url),
            contract=Address(bytes.fromhex(settings.contract[2:])),
            ledger=lambda: self._node.ledger,
            acknowledged={int(rollup_id): count for rollup_id, count in settings.acknowledged.items()},
        )
        self._node.metrics.statistics.add("forced_inclusion", self.forced.statistics)
        self._work["forced inclusion"] = self.forced.run

    def _add_driver(self, connection: EngineConnection) -> None:
        rollup_id = RollupId(connection.chain_id)
        handle = self._node.rollups.get(rollup_id)
        if handle is None:
            raise ConfigurationError(
                f"An engine is named for rollup {rollup_id}, which this network does not have.", code="rollup_unknown"
            )
        binding = self._bindings().get(rollup_id)
        home = self._node.config.data_dir
        driver = EngineDriver(
            EngineClient(connection.engine_url, read_secret(connection.jwt_file)),
            NativeBlocks(handle.native),
            "jovian" if binding is None else binding.fork,
            settled=lambda: self._settled(rollup_id),
            settings=DriverSettings(mode=connection.mode, evidence_dir=None if home is None else home / "evidence"),
        )
        self.drivers[rollup_id] = driver
        self._node.metrics.statistics.add(f"engine_{rollup_id}", driver.statistics)
        self._work[f"engine {rollup_id}"] = driver.run

    def on_decided(self, effect: SubBlockDecided) -> None:
        """Follows a decided sub-block, on the event loop, when the ledger is the one that it left behind."""
        if self.checkpoints is not None:
            self.checkpoints.on_decided(effect.height, effect.app_hash, self._node.ledger)

    def _start_engines(self) -> None:
        """Begins to drive the engines of chains that have joined."""
        for connection in [one for one in self._waiting if RollupId(one.chain_id) in self._node.rollups]:
            self._waiting.remove(connection)
            name = f"engine {connection.chain_id}"
            try:
                self._add_driver(connection)
            except ConfigurationError as error:
                self.failures[name] = error
                _log.error("engine_not_driven", code=error.code, reason=error.message)
                continue
            assert self._group is not None, "it runs"
            self._group.create_task(self._keep(name, self._work[name]), name=name)

    def _client(self, rpc_url: str, *, attempts_max: int = L1_ATTEMPTS_MAX) -> L1Client:
        client = L1Client(rpc_url, attempts_max=attempts_max)
        self._clients.append(client)
        return client

    # ------------------------------------------------------------ what the parts ask
    def _bindings(self) -> dict[RollupId, OpStackConfig]:
        state = self._node.l1
        return {} if state is None else {RollupId(config.chain_id): config for config in state.bindings}

    def _posted(self) -> dict[RollupId, PostedRollup]:
        """The rollups to post: those that derive from the L1, each for the batcher that its derivation reads now."""
        found: dict[RollupId, PostedRollup] = {}
        bindings = self._bindings()
        for record in self._node.ledger.rollups:
            binding = bindings.get(record.rollup_id)
            if binding is None:
                continue
            system = record.epochs[-1].system if record.epochs else binding.genesis_system
            found[record.rollup_id] = PostedRollup(
                rollup_id=record.rollup_id,
                blocks=self._node.rollups[record.rollup_id].native,
                config=binding,
                batcher=system.batcher,
            )
        return found

    def _safe_reports(self) -> tuple[RollupSafe, ...]:
        """How far rollups are safe, and that the node has the chains that are going to join."""
        settled = () if self.settlement is None else self.settlement.safe_reports()
        found = {one.rollup_id: one for one in (*self._node.arrivals.safe_reports(), *settled)}
        return tuple(found[rollup_id] for rollup_id in sorted(found))

    def _positions(self) -> list[RollupPosition]:
        """Where the rollups stand on the L1, for alarms."""
        found: list[RollupPosition] = []
        for rollup_id, binding in sorted(self._bindings().items()):
            handle = self._node.rollups.get(rollup_id)
            if handle is not None:
                levels = None if self.settlement is None else self.settlement.levels(rollup_id)
                found.append(position_of(handle.native, binding, None if levels is None else levels.posted))
        return found

    def _followed(self) -> dict[RollupId, FollowedRollup]:
        """The rollups whose batches are read."""
        return {
            rollup_id: FollowedRollup(rollup_id=rollup_id, native=self._node.rollups[rollup_id].native, config=binding)
            for rollup_id, binding in self._bindings().items()
            if rollup_id in self._node.rollups
        }

    def _settled(self, rollup_id: RollupId) -> SettledHeads:
        """What an engine is told. As a verifier does, it calls safe what derives from the L1's newest blocks."""
        levels = None if self.settlement is None else self.settlement.levels(rollup_id)
        return SettledHeads() if levels is None else SettledHeads(levels.posted, levels.finalized)

    # ------------------------------------------------------------ running
    async def _follow(self) -> None:
        """Wakes drivers and batcher with every decided sub-block that seals or takes back blocks."""
        while True:
            subscription = self._node.bus.subscribe()
            self._start_engines()
            self._wake_all()
            async for effect in subscription:
                if self._waiting and effect.ledger_effects:
                    self._start_engines()
                if effect.unwound or any(rollup.sealed for rollup in effect.rollups):
                    self._wake_all()
            if not subscription.lagged:
                return  # the node stops

    def _wake_drivers(self) -> None:
        for driver in self.drivers.values():
            driver.notify()

    def _wake_all(self) -> None:
        self._wake_drivers()
        if self.settlement is not None:
            self.settlement.notify()
        if self.batcher is not None:
            self.batcher.notify()

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Runs a part for ever: one that fails or ends is named and started again."""
        while True:
            try:
                await work()
                failure = PlaitError(f"{name} ended.", code="service_ended")
            except PlaitError as error:
                failure = error
            except Exception as error:
                _log.exception("service_failed", service=name)
                failure = PlaitError(f"{name} failed: {error!r}", code="service_failed")
            self.failures[name] = failure
            _log.error("service_restarts", service=name, code=failure.code, reason=failure.message)
            await asyncio.sleep(SETTLING_RESTART_S)
            del self.failures[name]

    def _l1_status(self, reporter: L1Reporter) -> dict[str, Any]:
        watcher, state = reporter.watcher, self._node.l1
        return {
            "state": watcher.status.state,
            "code": watcher.status.code,
            "message": watcher.status.message,
            "head": watcher.l1_head,
            "agreed": None if state is None else state.head.number,
            "safe": watcher.safe,
            "finalized": watcher.finalized,
            "alarms": [{"code": one.code, "message": one.message} for one in reporter.alarms],
        }


def _engine_status(driver: EngineDriver) -> dict[str, Any]:
    status = driver.status
    return {
        "chainId": status.chain_id,
        "state": status.state.value,
        "code": status.code,
        "message": status.message,
        "head": status.head,
        "engineHead": status.engine_head,
        "evidence": status.evidence,
    }


__all__ = ["Settling"]
