"""Verification of a data directory: the decided log is replayed from genesis with every check, and everything is
compared.

Unlike a start, nothing is taken on trust: senders are recovered anew, every proposal goes through `process`, every
app hash
(which covers ledger, commitments and sealed block hashes) is compared with the log's, and every snapshot's ledger and
rollups are compared with the replayed state of their height. The replay uses memory only; the directory stays as it is,
except that an interrupted append at the log's end is cut off as at any start. Every block that the block store holds is
read and compared too. A log that does not begin at height 1 is replayed from the oldest network snapshot, which is
checked against the app hash of its height like a stranger's.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from plait.errors import InvariantBroken, PlaitError
from plait.ledger.encoding import encode_ledger
from plait.native import NativeError, Rollup, Store
from plait.node.block_store import is_damage, open_store
from plait.node.install import LEDGER_PART, rollup_part
from plait.node.joined import source_of
from plait.node.lost_log import require_no_later_block, require_no_later_snapshot
from plait.node.node import Stored
from plait.node.remotes import IMPORTS
from plait.node.restore import at_genesis, genesis_of, open_network_snapshot
from plait.protocol.application import Application
from plait.protocol.requests import FinalizeRequest, ProcessRequest, Refused
from plait.storage import DecidedRecord, Snapshot
from plait.types import Height, RollupId

PROGRESS_EVERY_S = 0.5


class VerifiedRollup(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rollup stands after the replay."""

    chain_id: int
    block_number: int
    block_hash: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found. `difference` None means that everything is as it should be."""

    heights: int
    """Of the last one that was replayed."""
    from_height: int
    """Whose state was not made by the replay; 0 for genesis."""
    transactions: int
    app_hash: str
    rollups: tuple[VerifiedRollup, ...]
    snapshots: tuple[int, ...]
    """Heights of the snapshots that were compared."""
    cut_bytes: int
    seconds: float
    difference: str | None
    code: str | None


def verify(stored: Stored, progress: Callable[[Height], None] = lambda _: None) -> Verification:
    """Replays and compares everything that `stored` holds; never raises for a difference."""
    started = time.perf_counter()
    application = _first_state(stored)
    from_height = application.info().height
    snapshots = (
        {} if stored.snapshots is None else {one.height: one for one in stored.snapshots.good(stored.log.height)}
    )
    compared: list[int] = []
    transactions = 0
    shown = started
    difference: tuple[str, str] | None = None
    try:
        for record in stored.log.iterate(Height(from_height + 1)):
            found, count = _check_height(application, record)
            transactions += count
            snapshot = snapshots.get(record.height)
            if found is None and snapshot is not None:
                found = _check_snapshot(application, snapshot, stored)
                compared.append(record.height)
            if found is not None:
                difference = found
                break
            if (now := time.perf_counter()) - shown > PROGRESS_EVERY_S:
                shown = now
                progress(record.height)
        if difference is None:
            difference = _check_whole(application, stored)
        if difference is None and stored.snapshots is not None and stored.snapshots.skipped:
            difference = ("snapshot_differs", stored.snapshots.skipped[0])
    except (PlaitError, NativeError) as error:
        difference = (error.code, str(error))
    info = application.info()
    return Verification(
        heights=info.height,
        from_height=from_height,
        transactions=transactions,
        app_hash="0x" + info.app_hash.hex(),
        rollups=tuple(
            VerifiedRollup(
                chain_id=rollup_id, block_number=rollup.head.number, block_hash="0x" + rollup.head.hash.hex()
            )
            for rollup_id, rollup in application.rollups.items()
        ),
        snapshots=tuple(compared),
        cut_bytes=stored.log.statistics()["cut_bytes"],
        seconds=round(time.perf_counter() - started, 3),
        difference=None if difference is None else difference[1],
        code=None if difference is None else difference[0],
    )


def _first_state(stored: Stored) -> Application:
    """The state that the replay begins with.

    Raises:
        InvariantBroken: `history_missing` when the log does not begin at height 1 and no network snapshot helps.
    """
    imports = _imports(stored)
    source = source_of(stored.network, imports)
    if stored.log.base.height == 0:
        return at_genesis(stored.network, stored.genesis, source, Store.in_memory(), recheck_own=True, imports=imports)
    held = () if stored.network_snapshots is None else stored.network_snapshots.held()
    for snapshot in reversed(held):
        taken = open_network_snapshot(snapshot, stored.log, Store.in_memory(), stored.genesis, source)
        return Application(taken.ledger, taken.rollups, source, app_hash=taken.app_hash, recheck_own=True)
    raise InvariantBroken(
        f"The log begins at height {stored.log.first_height}, and there is no network snapshot to begin from.",
        code="history_missing",
        first_height=stored.log.first_height,
    )


def _check_whole(application: Application, stored: Stored) -> tuple[str, str] | None:
    """Compares the block store with the replayed blocks.

    Raises InvariantBroken (`log_behind_state`) when snapshots or stored blocks are ahead of the whole log.
    """
    if stored.directory is None:
        return None
    if stored.snapshots is not None:
        require_no_later_snapshot(stored.directory.path, stored.log.height, stored.snapshots)
    if not stored.directory.store.exists():
        return None
    found: str | None = None
    try:
        store = open_store(stored.directory.store)
        try:
            require_no_later_block(stored.directory.path, application, store)
            found = _differing_block(application, stored, store)
        finally:
            store.close()
    except NativeError as error:
        if not is_damage(error, stored.directory.store):
            raise
        found = str(error)
    if found is None:
        return None
    return "store_corrupt", (
        f"The block store is damaged: {found}. The log is good; move {stored.directory.store} away and the next start "
        "rebuilds it."
    )


def _differing_block(application: Application, stored: Stored, store: Store) -> str | None:
    """What the first stored block that is not as the replay made it differs in. Raises NativeError for unreadable ones.

    A store may end before the log does; the next start makes what is missing.
    """
    genesis = _genesis(application, stored)
    for rollup_id, replayed in sorted(application.rollups.items()):
        newest = min(store.head_number(rollup_id) or 0, replayed.head.number - 1)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / rollup_part(rollup_id))
            replayed.write_snapshot(path)
            on_disk = Rollup.from_snapshot(genesis[rollup_id], store, path)
        for number in range(newest + 1):
            if replayed.raw_header(number) is None:
                continue  # before the snapshot that the replay began with
            if on_disk.raw_block(number) != replayed.raw_block(number):
                return f"block {number} of rollup {rollup_id} is not the one in the log"
            if on_disk.raw_receipts(number) != replayed.raw_receipts(number):
                return f"the receipts of block {number} of rollup {rollup_id} are not those of the log"
    return None


def _check_height(application: Application, record: DecidedRecord) -> tuple[tuple[str, str] | None, int]:
    """One height; ((code, sentence) of a difference, or None; transactions)."""
    verdict = application.process(
        ProcessRequest(height=record.height, time_ms=record.time_ms, proposal=record.proposal)
    )
    if isinstance(verdict, Refused):
        return (verdict.code, f"The proposal of height {record.height} is not valid: {verdict.sentence}"), 0
    effect = application.finalize(
        FinalizeRequest(height=record.height, time_ms=record.time_ms, proposal=record.proposal, agreed=record.agreed)
    ).effect
    for name, replayed, logged in (
        ("app hash", effect.app_hash, record.app_hash),
        ("senders", effect.senders, record.senders),
        ("slot", effect.slot, record.slot),
        ("sub-index", effect.sub_index, record.sub_index),
    ):
        if replayed != logged:
            return ("replay_diverged", f"Height {record.height}: the replayed {name} is not the one in the log."), 0
    application.commit()
    return None, effect.transactions


def _check_snapshot(application: Application, snapshot: Snapshot, stored: Stored) -> tuple[str, str] | None:
    """Compares a snapshot with the replayed state of its height."""
    where = f"The snapshot of height {snapshot.height}"
    if snapshot.app_hash != application.app_hash:
        return "snapshot_differs", f"{where} has another app hash than the log."
    if snapshot.part(LEDGER_PART).read_bytes() != encode_ledger(application.ledger):
        return "snapshot_differs", f"{where} holds another ledger than the replay gives."
    genesis = _genesis(application, stored)
    for rollup_id, rollup in application.rollups.items():
        path = snapshot.part(rollup_part(rollup_id))
        restored = Rollup.from_snapshot(genesis[rollup_id], Store.in_memory(), str(path))
        if restored.head.hash != rollup.head.hash or _open_of(restored) != _open_of(rollup):
            return "snapshot_differs", f"{where} holds another state of rollup {rollup_id} than the replay gives."
    return None


def _genesis(application: Application, stored: Stored) -> dict[RollupId, bytes]:
    """op-geth's genesis JSON of every rollup, those that were registered or joined included."""
    return genesis_of(application.ledger, stored.genesis, source_of(stored.network, _imports(stored)))


def _imports(stored: Stored) -> Path | None:
    return None if stored.directory is None else stored.directory.path / IMPORTS


def _open_of(rollup: Rollup) -> tuple[int, ...] | None:
    block = rollup.open_block
    return None if block is None else (block.number, block.gas_used, block.da_footprint, block.transaction_count)
