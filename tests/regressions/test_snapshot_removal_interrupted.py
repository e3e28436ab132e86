"""A process killed while it removes an old snapshot leaves no snapshot that looks damaged.

The files were removed one by one in place; a kill in between left a manifest whose parts were missing, which
`plait verify-log` reported as a difference.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plait.limits import SNAPSHOTS_KEPT
from plait.storage import Snapshots
from plait.types import Hash32, Height

NETWORK = Hash32(bytes(32))


class KilledError(Exception):
    pass


def part(content: bytes) -> dict[str, Callable[[Path], object]]:
    return {name: lambda path: path.write_bytes(content) for name in ("ledger", "rollup-901")}


def killed_after_one_file(path: Path, **_: Any) -> None:
    """What `rmtree` has done when the process dies early; where there is nothing, it does nothing."""
    for file in sorted(Path(path).glob("*"))[:1]:
        file.unlink()
        raise KilledError


@pytest.mark.parametrize("again", [False, True])
def test_interrupted_removal_leaves_whole_snapshots_only(
    tmp_path: Path, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`again`: the height that is written replaces its own earlier snapshot; otherwise the oldest one is removed."""
    snapshots = Snapshots(tmp_path, NETWORK)
    for height in range(1, SNAPSHOTS_KEPT + 1):
        snapshots.write(Height(height), Hash32(bytes(32)), part(b"old"))
    newest = SNAPSHOTS_KEPT if again else SNAPSHOTS_KEPT + 1
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed_after_one_file)
        with pytest.raises(KilledError):
            snapshots.write(Height(newest), Hash32(bytes(32)), part(b"new"))
    opened = Snapshots(tmp_path, NETWORK)
    assert len(list(opened.good(Height(100)))) >= SNAPSHOTS_KEPT - 1
    assert opened.skipped == []
    assert all(path.name.isdigit() for path in tmp_path.iterdir())
