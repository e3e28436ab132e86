"""The state a node starts with: the newest good snapshot plus the rest of the decided log, or the whole log from
genesis.

Replay drives the same `Application` as live operation (finalize and commit) with the senders the log kept, and
compares the
app hash of every height with the log's. A difference is a broken invariant: the node does not start.

A damaged block store is set aside and made anew by a replay from genesis. Evidence that the log lost its end
(`plait.node.lost_log`) ends the start.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from plait.errors import InvariantBroken, PlaitError
from plait.ledger.encoding import decode_ledger, encode_ledger
from plait.ledger.rollup_records import rollup_key
from plait.ledger.state import LedgerState, genesis_state
from plait.native import NativeError, Rollup, Store
from plait.node.block_store import DAMAGE_CODES, explained, is_damage, open_store, set_aside
from plait.node.config import NetworkConfig
from plait.node.lost_log import require_no_later_block
from plait.protocol.application import Application
from plait.protocol.registry import RollupSource
from plait.protocol.requests import FinalizeRequest
from plait.rollups.embedded.source import EmbeddedSource
from plait.storage import DecidedLog, DecidedRecord, MemoryLog, Snapshot, Snapshots
from plait.types import Hash32, Height, RollupId

LEDGER_PART = "ledger"


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


def rollup_part(rollup_id: RollupId) -> str:
    """Name of a rollup's file within a snapshot."""
    return f"rollup-{rollup_id}"


def source_of(network: NetworkConfig) -> RollupSource:
    """Payload attributes and L1 origins of a network of embedded rollups."""
    return EmbeddedSource.of(
        network.parameters(), {RollupId(rollup.chain_id): rollup.fork for rollup in network.rollups}
    )


def at_genesis(
    network: NetworkConfig,
    genesis: Mapping[RollupId, bytes],
    source: RollupSource,
    store: Store,
    *,
    recheck_own: bool = False,
) -> Application:
    """The application before the first height."""
    rollups = {rollup_id: Rollup.from_genesis(data, store) for rollup_id, data in sorted(genesis.items())}
    ledger = genesis_state(
        network.parameters(),
        tuple(rollup.parameters(Hash32(rollups[RollupId(rollup.chain_id)].genesis_hash)) for rollup in network.rollups),
    )
    return Application(ledger, rollups, source, recheck_own=recheck_own, store=store)


def restore(
    network: NetworkConfig,
    genesis: Mapping[RollupId, bytes],
    source: RollupSource,
    log: DecidedLog | MemoryLog,
    *,
    snapshots: Snapshots | None,
    store_path: Path | None,
    recheck_own: bool = False,
    progress: Callable[[Height], None] = lambda _: None,
    on_damaged_store: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Brings an application to the log's height.

    Args:
        snapshots: None to replay from genesis.
        store_path: the native core's derived data; None keeps it in memory.
        progress: told now and then which height has been replayed.
        on_damaged_store: told the reason when the store was set aside and is rebuilt.

    Raises:
        InvariantBroken: `replay_diverged`, `decided_proposal_invalid`, `log_damaged`, `log_behind_state`, `disk_full`.
        NativeError: the store is in use or cannot be opened for a reason that is not damage.
    """

    def attempt(store: Store, usable: Snapshots | None) -> Restored:
        return _restore_into(store, network, genesis, source, log, usable, recheck_own, progress)

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
        # No snapshot brings back the blocks below it: only a replay from genesis does.
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


def _restore_into(  # noqa: PLR0917 - a helper with one caller
    store: Store,
    network: NetworkConfig,
    genesis: Mapping[RollupId, bytes],
    source: RollupSource,
    log: DecidedLog | MemoryLog,
    snapshots: Snapshots | None,
    recheck_own: bool,
    progress: Callable[[Height], None],
) -> Restored:
    started = time.perf_counter()
    skipped: list[str] = []
    application: Application | None = None
    if snapshots is not None:
        for snapshot in snapshots.good(log.height):
            try:
                application = _from_snapshot(snapshot, genesis, source, log, store, recheck_own)
                break
            except (NativeError, PlaitError, OSError) as error:
                if isinstance(error, NativeError) and error.code in DAMAGE_CODES:
                    raise  # the store's fault, not the snapshot's
                skipped.append(f"The snapshot of height {snapshot.height} is not used: {error}")
        skipped = [*snapshots.skipped, *skipped]
    if application is None:
        application = at_genesis(network, genesis, source, store, recheck_own=recheck_own)
    snapshot_height = application.info().height
    transactions = replay(application, log, progress)
    return Restored(
        application=application,
        store=store,
        snapshot_height=snapshot_height,
        replayed_heights=application.info().height - snapshot_height,
        replayed_transactions=transactions,
        seconds=time.perf_counter() - started,
        skipped=tuple(skipped),
    )


def replay(
    application: Application, log: DecidedLog | MemoryLog, progress: Callable[[Height], None] = lambda _: None
) -> int:
    """Applies every record above the application's height; returns how many transactions they held.

    Raises:
        InvariantBroken: `replay_diverged` when a height does not give the app hash that the log holds.
    """
    transactions = 0
    for record in log.iterate(Height(application.info().height + 1)):
        effect = application.finalize(
            FinalizeRequest(
                height=record.height,
                time_ms=record.time_ms,
                proposal=record.proposal,
                agreed=record.agreed,
                senders=record.senders,
            )
        ).effect
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


def write_snapshot(application: Application, store: Store, snapshots: Snapshots) -> Snapshot:
    """Writes the committed state. Not to be called while a height is in progress. Raises OSError, NativeError."""
    store.sync()
    ledger = application.ledger
    parts: dict[str, Callable[[Path], None]] = {LEDGER_PART: _writer(ledger)}
    for rollup_id, rollup in application.rollups.items():
        parts[rollup_part(rollup_id)] = _native_writer(rollup)
    return snapshots.write(ledger.height, application.app_hash, parts)


def _writer(ledger: LedgerState) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(encode_ledger(ledger))

    return write


def _native_writer(rollup: Rollup) -> Callable[[Path], None]:
    return lambda path: rollup.write_snapshot(str(path))


def _from_snapshot(  # noqa: PLR0917 - a helper with one caller
    snapshot: Snapshot,
    genesis: Mapping[RollupId, bytes],
    source: RollupSource,
    log: DecidedLog | MemoryLog,
    store: Store,
    recheck_own: bool,
) -> Application:
    record = log.read(snapshot.height)
    if record is None or record.app_hash != snapshot.app_hash:
        raise InvariantBroken("its app hash is not the one in the decided log", code="snapshot_mismatch")
    ledger = decode_ledger(snapshot.part(LEDGER_PART).read_bytes())
    rollups = {
        rollup_id: Rollup.from_snapshot(data, store, str(snapshot.part(rollup_part(rollup_id))))
        for rollup_id, data in genesis_of(ledger, genesis, source).items()
    }
    for rollup_id, rollup in rollups.items():
        _require_blocks(rollup_id, rollup)
    return Application(ledger, rollups, source, app_hash=snapshot.app_hash, recheck_own=recheck_own, store=store)


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


def _require_blocks(rollup_id: RollupId, rollup: Rollup) -> None:
    """Refuses a snapshot whose older blocks are not in the store: only a replay from genesis makes them again.

    The store is synced before a snapshot is written, so it holds all of them, or it was deleted or replaced.
    """
    head = rollup.head.number
    for number in (1, head - 1):
        if 1 <= number < head and rollup.raw_header(number) is None:
            raise InvariantBroken(
                f"the store has no block {number} of rollup {rollup_id}; everything is replayed",
                code="store_incomplete",
            )
