"""Putting a received snapshot in place, so that a crash leaves the old state, the new one, or a clean start.

    1. `restoring` is written: from here on, what lies beside it is worthless after a crash
    2. blocks go to the store, states are built and checked; the store is synced
    3. the node's own snapshot of the height is written
    4. the log is told to begin above the height
    5. the received parts become a network snapshot, to be served and to be fallen back on
    6. `restoring` is removed: the new state holds
    7. the running application gets the new state

Only a node without decided heights does this: nothing that it decided can be lost. A snapshot that is refused in step 2
leaves the old state: its blocks are taken out of the store again.
"""

from collections.abc import Callable
from pathlib import Path

from plait.errors import SnapshotRefused
from plait.ledger.encoding import encode_ledger
from plait.native import Rollup, Store
from plait.node.block_store import remove as remove_store
from plait.node.network_snapshot import FrozenState, heads_of
from plait.node.take_over import GenesisOf, Taken, take_over
from plait.protocol.application import Application
from plait.protocol.registry import RollupSource
from plait.storage import DataDirectory, DecidedLog, Files, LogBase, Snapshot, Snapshots
from plait.storage.network_snapshots import NetworkSnapshots
from plait.storage.received import ReceivedSnapshot
from plait.storage.record import SEGMENT_HEADER_BYTES
from plait.storage.segment import SUFFIX
from plait.types import RollupId

LEDGER_PART = "ledger"


def rollup_part(rollup_id: RollupId) -> str:
    """Name of a rollup's file within a node's own snapshot."""
    return f"rollup-{rollup_id}"


def discard_unfinished(directory: DataDirectory, files: Files) -> bool:
    """Clears away what an interrupted restore left; returns whether the node starts anew. Raises OSError.

    To be called before anything in the directory is opened. A log with records was never part of it: then only the
    marker is removed.
    """
    files.remove_tree(directory.restore)
    if not directory.restoring.exists():
        return False
    holds_records = any(path.stat().st_size > SEGMENT_HEADER_BYTES for path in directory.log.glob(f"*{SUFFIX}"))
    if not holds_records:
        # What a log led to goes before the log: an interruption must not look like a log that was lost.
        files.remove_tree(directory.snapshots)
        files.remove_tree(directory.network_snapshots)
        remove_store(directory.store)
        files.remove_tree(directory.log)
    files.remove(directory.restoring)
    files.sync_directory(directory.path)
    return not holds_records


def install(
    received: ReceivedSnapshot,
    state: Taken,
    *,
    application: Application,
    directory: DataDirectory,
    store: Store,
    log: DecidedLog,
    snapshots: Snapshots,
    network_snapshots: NetworkSnapshots,
    genesis_of: GenesisOf,
    source: RollupSource,
    files: Files,
) -> Taken:
    """Steps 1 to 7. `state` has the ledger and the app hash that were checked, and no rollups yet.

    Raises:
        SnapshotRefused: a part is not the agreed one; everything is as before.
        OSError, NativeError, PlaitError: the disk or the store fails; the next start is a clean one.
    """
    files.write_whole(directory.restoring, b"")
    try:
        taken = take_over(received.directory, state, store, genesis_of, source)
    except SnapshotRefused:
        for rollup_id in state.ledger.rollup_ids:
            own = application.rollups.get(rollup_id)
            store.remove_above(rollup_id, 0 if own is None else own.head.number)
        _finish_marker(directory, files)
        raise
    store.sync()
    write_own(taken, snapshots)
    log.rebase(LogBase(taken.height, taken.app_hash))
    received.sync()
    network_snapshots.finish(received.directory, received.manifest, heads_of(taken.ledger))
    _finish_marker(directory, files)
    adopt(application, taken)
    return taken


def adopt(application: Application, taken: Taken) -> None:
    """Makes a state that was taken over the application's. Its rollups stay the objects that others hold."""
    rollups: dict[RollupId, Rollup] = {}
    for rollup_id, new in taken.rollups.items():
        own = application.rollups.get(rollup_id)
        if own is not None:
            own.become_like(new)
        rollups[rollup_id] = new if own is None else own
    application.replace(taken.ledger, rollups, taken.app_hash)


def write_own(state: Taken | FrozenState, snapshots: Snapshots) -> Snapshot:
    """Writes the node's own snapshot of a state; its blocks must be durable before. Raises OSError, NativeError."""
    parts: dict[str, Callable[[Path], None]] = {LEDGER_PART: _bytes_writer(encode_ledger(state.ledger))}
    for rollup_id, rollup in state.rollups.items():
        parts[rollup_part(rollup_id)] = _native_writer(rollup.write_snapshot)
    return snapshots.write(state.height, state.app_hash, parts)


def _bytes_writer(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def _native_writer(write_snapshot: Callable[[str], None]) -> Callable[[Path], None]:
    return lambda path: write_snapshot(str(path))


def _finish_marker(directory: DataDirectory, files: Files) -> None:
    files.remove(directory.restoring)
    files.sync_directory(directory.path)


__all__ = [
    "LEDGER_PART",
    "adopt",
    "discard_unfinished",
    "install",
    "rollup_part",
    "write_own",
]
