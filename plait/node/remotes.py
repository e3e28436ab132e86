"""The rollups of a node whose state another node holds: their readers, journals, and how they begin.

    DATA/imports/<chain id>/     what `plait rollup add` brought in; remote.json makes the rollup a remote one
    DATA/remote/<chain id>/      what was read of its state (rollups/opstack/remote_journal.py)

A snapshot of the node holds what every rollup knew. Before one is written the journals begin new segments (`rotate`);
when it is on the disk they may forget what no start needs (`prune`). Replaying asks nobody: what a decided block needed
was on the disk before the block was made.

Made and used by one node; methods may be called by any thread. Level 6.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from plait.native import Rollup, Store
from plait.node.logging import get_logger
from plait.rollups.opstack.remote_import import (
    ancestors_of,
    is_remote,
    read_source,
    remote_imported,
    remote_restored,
)
from plait.rollups.opstack.remote_journal import ReadJournal
from plait.rollups.opstack.remote_state import RpcStateReader
from plait.types import Height, RollupId

IMPORTS: Final = "imports"
"""Folder of a data directory with the chains that existed before the network (`plait rollup import`)."""
REMOTE: Final = "remote"
"""Folder of a data directory with what was read of remote state."""
_log = get_logger("remote")


class _Remote(msgspec.Struct, frozen=True):
    reader: RpcStateReader
    journal: ReadJournal


class Remotes:
    """The remote rollups of a data directory; of none with None.

    Args:
        home: the data directory.
    """

    def __init__(self, home: Path | None) -> None:
        self._home = home
        self._open: dict[RollupId, _Remote] = {}

    # ------------------------------------------------------------ beginning
    def is_remote(self, rollup_id: RollupId) -> bool:
        """Whether a rollup's state is read from another node."""
        return self._home is not None and is_remote(self._imported(rollup_id))

    def begin(self, rollup_id: RollupId, store: Store, *, undo_blocks: int) -> Rollup:
        """The rollup at its anchor, its ancestors in the store. Raises as `remote_imported` and `read_source`."""
        remote = self._remote(rollup_id)
        return remote_imported(
            self._imported(rollup_id), store, remote.reader, remote.journal.held(), undo_blocks=undo_blocks
        )

    def restore(self, rollup_id: RollupId, store: Store, snapshot: Path, height: Height, *, undo_blocks: int) -> Rollup:
        """The rollup at a snapshot of the node of this height. Raises as `remote_restored`."""
        remote = self._remote(rollup_id)
        return remote_restored(
            self._imported(rollup_id),
            store,
            remote.reader,
            remote.journal.held(height),
            snapshot,
            undo_blocks=undo_blocks,
        )

    def lowest(self, rollup_id: RollupId) -> int:
        """Number of the lowest block that was copied; 1 where blocks begin at genesis."""
        ends = ancestors_of(self._imported(rollup_id)).ends()
        return 1 if ends is None else max(1, ends[0].number)

    def replaying(self, now: bool) -> None:
        """Whether decided blocks are being executed again."""
        for remote in self._open.values():
            remote.reader.replaying = now

    # ------------------------------------------------------------ snapshots
    def wants_snapshot(self) -> bool:
        """Whether so much was read that a snapshot is due."""
        return any(remote.journal.wants_snapshot() for remote in self._open.values())

    def rotate(self, height: Height) -> None:
        """Begins new segments: a snapshot of this height is about to be written. Never raises: without a new segment a
        start loads more."""
        for rollup_id, remote in self._open.items():
            try:
                remote.journal.rotate(height)
            except OSError as error:
                _log.warning("journal_not_rotated", rollup=rollup_id, reason=str(error))

    def prune(self, snapshots: Iterable[Height]) -> None:
        """Forgets what no start from these snapshots needs. Never raises."""
        heights = list(snapshots)
        for rollup_id, remote in self._open.items():
            try:
                remote.journal.prune(heights)
            except OSError as error:
                _log.warning("journal_not_pruned", rollup=rollup_id, reason=str(error))

    # ------------------------------------------------------------ for people
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each thing that is not as it should be, for the health page."""
        found = []
        for rollup_id, remote in sorted(self._open.items()):
            if remote.reader.reason:
                found.append(
                    f"remote_unavailable: state of rollup {rollup_id} cannot be read from {remote.reader.url}: "
                    f"{remote.reader.reason}"
                )
            if remote.journal.is_near():
                found.append(
                    f"remote_journal_full: {remote.journal.needed_bytes} bytes of remote state were read for rollup "
                    f"{rollup_id} since the newest snapshot; near the bound nothing more is read. See in the log why "
                    "no snapshot is written."
                )
        return tuple(found)

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics."""
        found: dict[str, int] = {}
        for rollup_id, remote in sorted(self._open.items()):
            found[f"requests_{rollup_id}"] = remote.reader.requests
            found[f"journal_bytes_{rollup_id}"] = remote.journal.size_bytes
        return found

    def close(self) -> None:
        """Closes connections and files for good: reads that are under way are refused, and so are later ones."""
        for remote in self._open.values():
            remote.reader.close(ends=True)

    # ------------------------------------------------------------ inside
    def _imported(self, rollup_id: RollupId) -> Path:
        assert self._home is not None, "asked before"
        return self._home / IMPORTS / str(rollup_id)

    def _remote(self, rollup_id: RollupId) -> _Remote:
        found = self._open.get(rollup_id)
        if found is None:
            assert self._home is not None, "asked before"
            source = read_source(self._imported(rollup_id))
            journal = ReadJournal(self._home / REMOTE / str(rollup_id))
            if journal.damaged_bytes:
                _log.warning("journal_damaged", rollup=rollup_id, bytes=journal.damaged_bytes)
            found = self._open[rollup_id] = _Remote(source.reader(journal), journal)
        return found


__all__ = ["IMPORTS", "REMOTE", "Remotes"]
