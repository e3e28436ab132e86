"""The state a node starts with: the newest good snapshot plus the rest of the decided log, or the whole log from
genesis.

A log that does not begin at height 1 (the node started from another one's snapshot, or old segments were removed) has
no genesis to replay from. Where the node's own snapshots do not help, because one is damaged or the block store was set
aside, a network snapshot does: it brings blocks and state, checked like a stranger's. With neither the start ends.

Replay drives the same `Application` as live operation (finalize and commit) with the senders the log kept, and
compares the
app hash of every height with the log's. A difference is a broken invariant: the node does not start.

A damaged block store is set aside and made anew by a replay from genesis. Evidence that the log lost its end
(`plait.node.lost_log`) ends the start.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from plait.errors import ConfigurationError, InvariantBroken, PlaitError
from plait.ledger.encoding import decode_ledger
from plait.ledger.l1 import undo_blocks
from plait.ledger.rollup_records import rollup_key
from plait.ledger.state import LedgerState
from plait.native import NativeError, Rollup, Store
from plait.node.block_store import DAMAGE_CODES, explained, is_damage, open_store, set_aside
from plait.node.config import NetworkConfig
from plait.node.genesis import genesis_ledger
from plait.node.install import LEDGER_PART, rollup_part, write_own
from plait.node.lost_log import require_no_later_block
from plait.node.network_snapshot import FrozenState, spans_of
from plait.node.remotes import Remotes
from plait.node.take_over import Taken, check_head, check_parts, read_head, take_over
from plait.patience import until_read
from plait.protocol.application import Application
from plait.protocol.registry import RollupSource
from plait.protocol.requests import FinalizeRequest
from plait.rollups.opstack.importing import imported_rollup
from plait.storage import DecidedLog, DecidedRecord, MemoryLog, Snapshot, Snapshots
from plait.storage.network_snapshots import NetworkSnapshot, NetworkSnapshots
from plait.types import Hash32, Height, RollupId


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A started state and how it came about."""

    application: Application
    store: Store
    snapshot_height: Height
    """0 when the log was replayed from genesis."""
    replayed_heights: int
    replayed_transactions: int
    seconds: float
    skipped: tuple[str, ...]
    """Why snapshots were not used, one sentence each."""
    remotes: Remotes = msgspec.field(default_factory=lambda: Remotes(None))
    """Rollups whose state another node holds."""


def at_genesis(
    network: NetworkConfig,
    genesis: Mapping[RollupId, bytes],
    source: RollupSource,
    store: Store,
    *,
    recheck_own: bool = False,
    imports: Path | None = None,
    remotes: Remotes | None = None,
) -> Application:
    """The application before the first height. `imports`: where chains lie that existed before (`plait rollup import`);
    `remotes`: those of them whose state another node holds.

    Raises:
        ConfigurationError: `import_missing`.
    """
    existing = {RollupId(rollup.chain_id) for rollup in network.rollups if rollup.anchor}
    back = undo_blocks(network.l1_state())
    rollups = {
        rollup_id: _imported(imports, remotes, rollup_id, store, back)
        if rollup_id in existing
        else Rollup.from_genesis(data, store, undo_blocks=back)
        for rollup_id, data in sorted(genesis.items())
    }
    ledger = genesis_ledger(network, {i: Hash32(rollup.genesis_hash) for i, rollup in rollups.items()})
    return Application(ledger, rollups, source, recheck_own=recheck_own, store=store)


def _imported(imports: Path | None, remotes: Remotes | None, rollup_id: RollupId, store: Store, undo: int) -> Rollup:
    if remotes is not None and remotes.is_remote(rollup_id):
        return remotes.begin(rollup_id, store, undo_blocks=undo)
    if imports is None:
        raise ConfigurationError(
            f"Rollup {rollup_id} existed before; a node in memory cannot go on with it.", code="import_missing"
        )
    return imported_rollup(imports / str(rollup_id), store)[0]


def restore(
    network: NetworkConfig,
    genesis: Mapping[RollupId, bytes],
    source: RollupSource,
    log: DecidedLog | MemoryLog,
    *,
    snapshots: Snapshots | None,
    store_path: Path | None,
    network_snapshots: NetworkSnapshots | None = None,
    recheck_own: bool = False,
    imports: Path | None = None,
    remotes: Remotes | None = None,
    progress: Callable[[Height], None] = lambda _: None,
    waiting: Callable[[NativeError], None] = lambda _: None,
    on_damaged_store: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Brings an application to the log's height.

    Args:
        snapshots: the node's own; None to replay from where the log begins.
        network_snapshots: the fallback of a log that does not begin at height 1.
        store_path: the native core's derived data; None keeps it in memory.
        imports: where chains lie that existed before the network.
        remotes: those of them whose state another node holds.
        progress: told now and then which height has been replayed.
        waiting: told why, when replaying waits for state that another node holds.
        on_damaged_store: told the reason when the store was set aside and is rebuilt.

    Raises:
        InvariantBroken: `replay_diverged`, `decided_proposal_invalid`, `log_damaged`, `log_behind_state`, `disk_full`,
            `history_missing` when the log's first state is not to be had.
        NativeError: the store is in use or cannot be opened for a reason that is not damage.
    """

    held = remotes if remotes is not None else Remotes(None)
    inputs = _Inputs(network, genesis, source, log, network_snapshots, recheck_own, imports, held, progress, waiting)

    def attempt(store: Store, usable: Snapshots | None) -> Restored:
        return _restore_into(inputs, store, usable)

    if store_path is None:
        return attempt(Store.in_memory(), snapshots)
    try:
        try:
            store = open_store(store_path)
            return _closing(store, store_path, lambda: attempt(store, snapshots))
        except NativeError as error:
            if not is_damage(error, store_path):
                raise
            set_aside(store_path)
            on_damaged_store(str(error))
        rebuilt = open_store(store_path)
        # None of the node's own snapshots brings back the blocks below it: only a replay does, or a network snapshot.
        return _closing(rebuilt, store_path, lambda: attempt(rebuilt, None))
    except NativeError as error:
        raise explained(error, store_path) or error from error


def _closing(store: Store, path: Path, attempt: Callable[[], Restored]) -> Restored:
    """The attempt's result, with the log held against the store; the store is closed when either fails."""
    try:
        restored = attempt()
        require_no_later_block(path.parent, restored.application, store)
    except BaseException:
        with contextlib.suppress(NativeError):
            store.close()
        raise
    return restored


class _Inputs(NamedTuple):
    """What a start works with."""

    network: NetworkConfig
    genesis: Mapping[RollupId, bytes]
    source: RollupSource
    log: DecidedLog | MemoryLog
    network_snapshots: NetworkSnapshots | None
    recheck_own: bool
    imports: Path | None
    remotes: Remotes
    progress: Callable[[Height], None]
    waiting: Callable[[NativeError], None]


def _restore_into(inputs: _Inputs, store: Store, snapshots: Snapshots | None) -> Restored:
    started = time.perf_counter()
    skipped: list[str] = []
    application: Application | None = None
    if snapshots is not None:
        for snapshot in snapshots.good(inputs.log.height):
            try:
                application = _from_snapshot(inputs, snapshot, store)
                break
            except (NativeError, PlaitError, OSError) as error:
                if isinstance(error, NativeError) and error.code in DAMAGE_CODES:
                    raise  # the store's fault, not the snapshot's
                skipped.append(f"The snapshot of height {snapshot.height} is not used: {error}")
        skipped = [*snapshots.skipped, *skipped]
    if application is None and inputs.log.base.height > 0:
        application = _from_network_snapshots(inputs, store, skipped)
    if application is None:
        application = at_genesis(
            inputs.network,
            inputs.genesis,
            inputs.source,
            store,
            recheck_own=inputs.recheck_own,
            imports=inputs.imports,
            remotes=inputs.remotes,
        )
    snapshot_height = application.info().height
    inputs.remotes.replaying(True)
    transactions = replay(application, inputs.log, inputs.progress, inputs.waiting)
    inputs.remotes.replaying(False)
    return Restored(
        application=application,
        store=store,
        snapshot_height=snapshot_height,
        replayed_heights=application.info().height - snapshot_height,
        replayed_transactions=transactions,
        seconds=time.perf_counter() - started,
        skipped=tuple(skipped),
        remotes=inputs.remotes,
    )


def replay(
    application: Application,
    log: DecidedLog | MemoryLog,
    progress: Callable[[Height], None] = lambda _: None,
    waiting: Callable[[NativeError], None] = lambda _: None,
) -> int:
    """Applies every record above the application's height; returns how many transactions they held.

    What a remote rollup needs was kept when it was read; where it was lost with a disk, its node is asked until it
    answers, and `waiting` is told why.

    Raises:
        InvariantBroken: `replay_diverged` when a height does not give the app hash that the log holds.
    """
    transactions = 0
    for record in log.iterate(Height(application.info().height + 1)):
        request = FinalizeRequest(
            height=record.height,
            time_ms=record.time_ms,
            proposal=record.proposal,
            agreed=record.agreed,
            senders=record.senders,
        )
        effect = until_read(partial(application.finalize, request), waiting).effect
        require_same(record, effect.app_hash)
        application.commit()
        transactions += effect.transactions
        if record.height % 1_000 == 0:
            progress(record.height)
    return transactions


def require_same(record: DecidedRecord, app_hash: Hash32) -> None:
    """Raises InvariantBroken (`replay_diverged`) when a replayed height differs from the log."""
    if app_hash != record.app_hash:
        raise InvariantBroken(
            f"Replaying height {record.height} gives app hash 0x{app_hash.hex()}, the log holds "
            f"0x{record.app_hash.hex()}. "
            "The log was written by another version, or its files are not all from one node.",
            code="replay_diverged",
            height=record.height,
        )


def write_snapshot(state: FrozenState, store: Store, snapshots: Snapshots) -> Snapshot:
    """Writes the node's own snapshot of a frozen state; the node may go on meanwhile. Raises OSError, NativeError."""
    store.sync()
    return write_own(state, snapshots)


def _from_snapshot(inputs: _Inputs, snapshot: Snapshot, store: Store) -> Application:
    _require_agreed(inputs.log, snapshot.height, snapshot.app_hash)
    ledger = decode_ledger(snapshot.part(LEDGER_PART).read_bytes())
    back, remotes = undo_blocks(ledger.l1), inputs.remotes
    rollups: dict[RollupId, Rollup] = {}
    for rollup_id, data in genesis_of(ledger, inputs.genesis, inputs.source).items():
        part = snapshot.part(rollup_part(rollup_id))
        if remotes.is_remote(rollup_id):
            rollups[rollup_id] = remotes.restore(rollup_id, store, part, snapshot.height, undo_blocks=back)
        else:
            rollups[rollup_id] = Rollup.from_snapshot(data, store, str(part), undo_blocks=back)
    for record in ledger.rollups:
        spans = spans_of(ledger.parameters, record) if inputs.log.base.height > 0 else []
        lowest = remotes.lowest(record.rollup_id) if remotes.is_remote(record.rollup_id) else 1
        _require_blocks(record.rollup_id, rollups[record.rollup_id], spans[-1].lowest if spans else lowest)
    return Application(
        ledger, rollups, inputs.source, app_hash=snapshot.app_hash, recheck_own=inputs.recheck_own, store=store
    )


def _from_network_snapshots(inputs: _Inputs, store: Store, skipped: list[str]) -> Application:
    """The state of the newest network snapshot that belongs to the log.

    Raises:
        InvariantBroken: `history_missing` when there is none.
    """
    log, snapshots = inputs.log, inputs.network_snapshots
    for snapshot in () if snapshots is None else snapshots.held():
        try:
            taken = open_network_snapshot(snapshot, log, store, inputs.genesis, inputs.source)
            return Application(
                taken.ledger,
                taken.rollups,
                inputs.source,
                app_hash=taken.app_hash,
                recheck_own=inputs.recheck_own,
                store=store,
            )
        except (NativeError, PlaitError, OSError) as error:
            if isinstance(error, NativeError) and error.code in DAMAGE_CODES:
                raise
            skipped.append(f"The network snapshot of height {snapshot.height} is not used: {error}")
    raise InvariantBroken(
        f"The log begins at height {log.first_height}, and no snapshot of height {log.base.height} or above can be "
        f"used{': ' + ' '.join(skipped) if skipped else '.'} Start anew from another node's snapshot with --reset.",
        code="history_missing",
        first_height=log.first_height,
    )


def open_network_snapshot(
    snapshot: NetworkSnapshot,
    log: DecidedLog | MemoryLog,
    store: Store,
    genesis: Mapping[RollupId, bytes],
    source: RollupSource,
) -> Taken:
    """The state of a network snapshot on this disk, checked against the log and as a stranger's would be.

    Raises:
        InvariantBroken: `snapshot_mismatch` when it is not of a height that the log knows.
        SnapshotRefused, NativeError, OSError: it is damaged, or the store fails.
    """
    app_hash = _agreed_at(log, snapshot.height)
    if app_hash is None:
        raise InvariantBroken("the log does not know its height", code="snapshot_mismatch")
    ledger = check_head(read_head(snapshot.path), snapshot.height, app_hash)
    check_parts(snapshot.manifest, ledger)
    agreed = Taken(ledger, app_hash, {})
    return take_over(snapshot.path, agreed, store, lambda of: genesis_of(of, genesis, source), source)


def _agreed_at(log: DecidedLog | MemoryLog, height: Height) -> Hash32 | None:
    """The app hash of a height: its record's, or the log's base."""
    if height == log.base.height > 0:
        return log.base.app_hash
    record = log.read(height)
    return None if record is None else record.app_hash


def _require_agreed(log: DecidedLog | MemoryLog, height: Height, app_hash: Hash32) -> None:
    if _agreed_at(log, height) != app_hash:
        raise InvariantBroken("its app hash is not the one in the decided log", code="snapshot_mismatch")


def genesis_of(ledger: LedgerState, genesis: Mapping[RollupId, bytes], source: RollupSource) -> dict[RollupId, bytes]:
    """op-geth's genesis JSON of every rollup of a ledger, ascending by id."""
    found: dict[RollupId, bytes] = {}
    for rollup_id in ledger.rollup_ids:
        data = genesis.get(rollup_id)
        entry = ledger.economy.rollups.get(rollup_key(rollup_id))
        if data is None and entry is not None:
            data = source.genesis_json(entry)
        if data is not None:
            found[rollup_id] = data
    return found


def _require_blocks(rollup_id: RollupId, rollup: Rollup, lowest: int) -> None:
    """Refuses a snapshot whose older blocks, from `lowest` on, are not in the store: only a replay makes them again.

    The store is synced before a snapshot is written, so it holds all of them, or it was deleted or replaced.
    """
    head = rollup.head.number
    for number in (lowest, head - 1):
        if 1 <= number < head and rollup.raw_header(number) is None:
            raise InvariantBroken(
                f"the store has no block {number} of rollup {rollup_id}; everything is replayed",
                code="store_incomplete",
            )
