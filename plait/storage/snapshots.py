"""Snapshots: the decided state at some heights, so that a start replays only what came after.

    snapshots/<height>/manifest.json     format version, network, height, app hash, and size and SHA-256 of each part
    snapshots/<height>/<part>            the ledger's bytes and one file per rollup

A snapshot appears whole or not at all (written beside, synced, renamed) and goes so too (renamed, then removed). A
snapshot that does not match its manifest is skipped and named, never used: the log alone rebuilds everything. The
newest SNAPSHOTS_KEPT are kept.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.limits import SNAPSHOTS_KEPT
from plait.storage.files import TEMPORARY_SUFFIX, Files
from plait.types import Hash32, Height

VERSION = 1
MANIFEST = "manifest.json"
_HASH_BUFFER_BYTES = 1024 * 1024


class Part(msgspec.Struct, frozen=True):
    """One file of a snapshot."""

    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot claims to be."""

    version: int
    network: str
    height: int
    app_hash: str
    parts: dict[str, Part]


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot whose parts match its manifest."""

    height: Height
    app_hash: Hash32
    path: Path

    def part(self, name: str) -> Path:
        """Where the part called `name` lies."""
        return self.path / name


class Snapshots:
    """The snapshots in one directory.

    Args:
        directory: created when absent; remains of interrupted writes in it are removed.
        network: 32 bytes naming the network; snapshots of another are not used.
        files: the disk (tests pass one that fails).
    """

    def __init__(self, directory: Path, network: Hash32, *, files: Files | None = None) -> None:
        self._directory = directory
        self._network = network
        self._files = files if files is not None else Files()
        self.skipped: list[str] = []
        """One sentence per snapshot that was found but could not be used."""
        directory.mkdir(parents=True, exist_ok=True)
        for remains in directory.glob(f"*{TEMPORARY_SUFFIX}"):
            shutil.rmtree(remains, ignore_errors=True)

    def heights(self) -> list[Height]:
        """Heights with a snapshot, newest first, whether usable or not."""
        return sorted(
            (Height(int(path.name)) for path in self._directory.iterdir() if path.name.isdigit()), reverse=True
        )

    def claimed(self) -> list[Height]:
        """Heights of this network's snapshots whose manifest is readable, whether or not their parts are usable."""
        return [height for height in self.heights() if isinstance(self._manifest(height), Manifest)]

    def good(self, at_most: Height) -> Iterator[Snapshot]:
        """Usable snapshots up to height `at_most`, newest first; `skipped` says why others are not."""
        for height in self.heights():
            if height > at_most:
                self.skipped.append(f"The snapshot of height {height} is beyond the decided log and is not used.")
                continue
            reason = self._defect(height)
            if isinstance(reason, Snapshot):
                yield reason
            else:
                self.skipped.append(f"The snapshot of height {height} is not used: {reason}.")

    def write(self, height: Height, app_hash: Hash32, parts: Mapping[str, Callable[[Path], None]]) -> Snapshot:
        """Writes the snapshot of `height`; each part's callable is given the path to create.

        A snapshot of that height that exists is replaced. Old ones beyond SNAPSHOTS_KEPT are removed afterwards.
        Raises OSError, and whatever a part raises; nothing of an unfinished snapshot is ever used.
        """
        target = self._directory / f"{height:020d}"
        work = self._directory / f"{height:020d}{TEMPORARY_SUFFIX}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        described: dict[str, Part] = {}
        for name in sorted(parts):
            path = work / name
            parts[name](path)
            fd = os.open(path, os.O_RDONLY)
            try:
                self._files.sync_data(fd)
            finally:
                os.close(fd)
            described[name] = _describe(path)
        manifest = Manifest(VERSION, self._network.hex(), height, app_hash.hex(), described)
        self._files.write_whole(work / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        if target.exists():
            self._remove(target)
        self._files.rename(work, target)
        self._files.sync_directory(self._directory)
        for old in self.heights()[SNAPSHOTS_KEPT:]:
            self._remove(self._directory / f"{old:020d}")
        return Snapshot(height=height, app_hash=app_hash, path=target)

    def _remove(self, path: Path) -> None:
        """Removes a snapshot as a whole: an interruption leaves remains, never a snapshot without some of its parts."""
        doomed = path.with_name(f"{path.name}.old{TEMPORARY_SUFFIX}")
        shutil.rmtree(doomed, ignore_errors=True)
        self._files.rename(path, doomed)
        self._files.sync_directory(self._directory)
        shutil.rmtree(doomed, ignore_errors=True)

    def _manifest(self, height: Height) -> Manifest | str:
        path = self._directory / f"{height:020d}" / MANIFEST
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except (OSError, *DAMAGED) as error:
            return said(error)
        if manifest.version != VERSION:
            return f"its format is version {manifest.version}, this program reads {VERSION}"
        if manifest.network != self._network.hex():
            return "it belongs to another network"
        if manifest.height != height:
            return f"its manifest is of height {manifest.height}"
        return manifest

    def _defect(self, height: Height) -> Snapshot | str:
        path = self._directory / f"{height:020d}"
        manifest = self._manifest(height)
        if isinstance(manifest, str):
            return manifest
        try:
            for name, part in manifest.parts.items():
                if Path(name).name != name:
                    return f"its part {name!r} has no plain name"
                if _describe(path / name) != part:
                    return f"its part {name} does not match the manifest"
            return Snapshot(height=height, app_hash=Hash32(bytes.fromhex(manifest.app_hash)), path=path)
        except (OSError, ValueError) as error:
            return str(error)


def _describe(path: Path) -> Part:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_BUFFER_BYTES):
            digest.update(chunk)
        return Part(size_bytes=file.tell(), sha256=digest.hexdigest())
