"""Evidence that the decided log lost its end: the node does not start then, because it would decide heights anew.

A record is on the disk before anything is made from it. So whatever exists only after height h proves that the log held
height h once:

    a store or a snapshot, and no log file      the log's first file is made before either
    a readable snapshot of a greater height     it is written between heights, after the append
    a stored block above the replayed head      a block is stored when the sub-block that seals it commits

None of it follows from a crash: an interrupted append was never acted upon, a crash between append and commit leaves
the store behind the log, and an interrupted replay leaves blocks that the whole log reaches again. The third can only
be judged after the whole replay. A log cut behind its last sealed block, with no later snapshot, leaves no evidence.
"""

from pathlib import Path

from plait.errors import InvariantBroken
from plait.native import Store
from plait.protocol.application import Application
from plait.storage import DataDirectory, Snapshots
from plait.storage.segment import SUFFIX
from plait.types import Height


def require_log(directory: DataDirectory) -> None:
    """Raises InvariantBroken (`log_behind_state`) when the directory holds what a log led to, and no log."""
    if any(directory.log.glob(f"*{SUFFIX}")):
        return
    found = [path.name for path in (directory.snapshots, directory.store) if path.is_dir() and any(path.iterdir())]
    if found:
        raise _behind(
            directory.path,
            Height(0),
            f"The decided log is missing: {directory.log} holds no file, but {' and '.join(found)} "
            f"{'is' if len(found) == 1 else 'are'} not empty.",
        )


def require_no_later_snapshot(path: Path, height: Height, snapshots: Snapshots) -> None:
    """Raises InvariantBroken (`log_behind_state`) when a snapshot was taken after the log's end at `height`."""
    newest = max(snapshots.claimed(), default=Height(0))
    if newest > height:
        raise _behind(
            path, height, f"The decided log ends at height {height}, but there is a snapshot of height {newest}."
        )


def require_no_later_block(path: Path, application: Application, store: Store) -> None:
    """Raises InvariantBroken (`log_behind_state`) when the store holds a block above a replayed rollup's head.

    To be called when the whole log has been replayed. Raises NativeError when the store cannot be read.
    """
    for rollup_id, rollup in sorted(application.rollups.items()):
        head, stored = rollup.head.number, store.head_number(rollup_id)
        if stored is not None and stored > head:
            height = application.info().height
            raise _behind(
                path,
                height,
                f"The decided log ends at height {height}, where rollup {rollup_id} is at block {head}, but its "
                f"block {stored} was sealed and stored.",
            )


def _behind(path: Path, height: Height, found: str) -> InvariantBroken:
    after = f"what was decided after height {height}" if height else "everything that was decided"
    return InvariantBroken(
        f"{found} The log has lost {after}; the node does not start, because it would decide it anew and differently. "
        f"Restore {path / 'log'} from a copy. Or accept the loss and go on from height {height}: move "
        f"{path / 'snapshots'} and {path / 'store'} away. Or begin a new network with --reset.",
        code="log_behind_state",
        height=height,
    )
