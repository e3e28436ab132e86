"""The native core's block store on disk: opened under guard, set aside when it is damaged.

Everything in the store can be rebuilt from the decided log, so damage costs a replay and nothing else:

    store/           the store
    store.opening    exists while it is being opened; found at a start, the opening ended the process
    store.damaged/   the last store that was set aside, for whoever wants to know why

The marker is needed because an engine that meets damaged tables may end the process instead of refusing. It lies
beside the store, not in it: the engine owns every file in there.

What is not damage: another process has it open, the disk is full, permission is missing. The store stays where it is
then, and the start fails with the reason.
"""

import errno
import os
import re
import shutil
from pathlib import Path

from plait.errors import InvariantBroken
from plait.native import NativeError, Store
from plait.storage import Files

MARKER_SUFFIX = ".opening"
ASIDE_SUFFIX = ".damaged"
DAMAGE_CODES = frozenset({"store_engine", "store_io", "store_corrupt"})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_CIRCUMSTANCES = _FULL | {errno.EPERM, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Refusals of the operating system that say nothing about the files."""
_ERRNO = re.compile(r"(?:os error |code: )(\d+)")
_FREE_BYTES_MIN = 1024 * 1024
"""With less room than this the disk counts as full, whatever the engine's reason says."""


def open_store(path: Path, files: Files | None = None) -> Store:
    """Opens or creates the store at `path`.

    Raises:
        NativeError: `store_corrupt` when an earlier opening ended its process; what the engine refuses otherwise
            (`is_damage` tells which of it is damage).
        InvariantBroken: `disk_full`.
        OSError: the marker cannot be written for another reason.
    """
    disk = files if files is not None else Files()
    marker = _beside(path, MARKER_SUFFIX)
    if marker.exists():
        raise _corrupt("opening the block store ended the process at an earlier start")
    try:
        disk.write_whole(marker, b"")
    except OSError as error:
        raise (_disk_full(path) if error.errno in _FULL else error) from error
    try:
        return Store.open(str(path))
    except NativeError as error:
        if error.code == "internal":
            raise _corrupt(str(error)) from error  # the engine panicked
        raise
    finally:
        disk.remove(marker)


def is_damage(error: NativeError, path: Path) -> bool:
    """Whether the store at `path` is damaged, as opposed to in use, or on a disk that is full or read-only."""
    return error.code in DAMAGE_CODES and not _is_full(error, path) and not _errnos(error) & _CIRCUMSTANCES


def set_aside(path: Path) -> Path:
    """Moves the store away, replacing one that was moved before; returns where it is. Raises OSError."""
    target = _beside(path, ASIDE_SUFFIX)
    if path.exists():
        shutil.rmtree(target, ignore_errors=True)
        path.replace(target)
    _beside(path, MARKER_SUFFIX).unlink(missing_ok=True)
    return target


def remove(path: Path) -> None:
    """Removes the store and everything beside it that belongs to it."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(_beside(path, ASIDE_SUFFIX), ignore_errors=True)
    _beside(path, MARKER_SUFFIX).unlink(missing_ok=True)


def explained(error: NativeError, path: Path) -> InvariantBroken | None:
    """What an operator needs to know about a failure of the store at `path`; None when it is not one."""
    if error.code not in DAMAGE_CODES:
        return None
    if _is_full(error, path):
        return _disk_full(path)
    return InvariantBroken(
        f"The block store in {path} failed: {error}. Start the node again; nothing that was reported as decided is "
        "lost, and a damaged store is rebuilt from the decided log.",
        code=error.code,
        path=str(path),
    )


def _disk_full(path: Path) -> InvariantBroken:
    return InvariantBroken(
        f"The disk of {path} is full: the block store cannot be written. Free space, then start the node again; "
        "nothing that was reported as decided is lost.",
        code="disk_full",
        path=str(path),
    )


def _corrupt(reason: str) -> NativeError:
    error = NativeError(reason)
    error.code = "store_corrupt"
    error.data = b""
    return error


def _is_full(error: NativeError, path: Path) -> bool:
    if _errnos(error) & _FULL:
        return True
    try:
        system = os.statvfs(path if path.exists() else path.parent)
    except OSError:
        return False
    return system.f_bavail * system.f_frsize < _FREE_BYTES_MIN


def _errnos(error: NativeError) -> set[int]:
    return {int(found) for found in _ERRNO.findall(str(error))}


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
