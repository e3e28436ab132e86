"""Snapshots for other nodes: what this node offers, on disk.

    network-snapshots/<height>/manifest       canonical bytes (plait.storage.manifest)
    network-snapshots/<height>/<part>         files as the manifest lists them

A snapshot appears whole or not at all (written beside, synced, renamed) and goes so too. What is read back is checked
against the manifest chunk by chunk: a damaged file is never sent. The newest NETWORK_SNAPSHOTS_KEPT are kept. Any
thread reads; one at a time writes.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from plait.errors import CodecError
from plait.limits import NETWORK_SNAPSHOT_CHUNK_BYTES, NETWORK_SNAPSHOTS_KEPT
from plait.storage.files import TEMPORARY_SUFFIX, Files
from plait.storage.manifest import HEAD, MANIFEST_BYTES_MAX, Manifest, Part, RollupParts, decode_manifest
from plait.types import BlockNumber, Hash32, Height, RollupId

MANIFEST_FILE = "manifest"


class NetworkSnapshot(msgspec.Struct, frozen=True):
    """A snapshot that this node has."""

    manifest: Manifest
    path: Path
    heads: Mapping[RollupId, BlockNumber] | None = None
    """Last sealed block of every rollup; None when it was not made or taken by this process (the head part has it)."""

    @property
    def height(self) -> Height:
        """Height whose state it holds."""
        return self.manifest.height


class NetworkSnapshots:
    """The network snapshots in one directory.

    Args:
        directory: created when absent; remains of interrupted writes in it are removed.
        network: 32 bytes naming the network; snapshots of another are not used.
        files: the disk (tests pass one that fails).
    """

    def __init__(self, directory: Path, network: Hash32, *, files: Files | None = None) -> None:
        self._directory = directory
        self._network = network
        self._files = files if files is not None else Files()
        self._lock = threading.Lock()
        self.skipped: list[str] = []
        """One sentence per snapshot that was found but could not be used."""
        directory.mkdir(parents=True, exist_ok=True)
        for remains in directory.glob(f"*{TEMPORARY_SUFFIX}"):
            self._files.remove_tree(remains)
        self._held = self._find()

    def held(self) -> Sequence[NetworkSnapshot]:
        """What there is, newest first."""
        with self._lock:
            return tuple(self._held)

    def newest(self) -> NetworkSnapshot | None:
        """The newest one."""
        held = self.held()
        return held[0] if held else None

    def oldest_height(self) -> Height | None:
        """Height of the oldest one."""
        held = self.held()
        return held[-1].height if held else None

    def chunk(self, height: Height, index: int) -> bytes | None:
        """A chunk as its manifest has it; None when there is no such snapshot or chunk, or its file is damaged."""
        found = next((one for one in self.held() if one.height == height), None)
        if found is None or not 0 <= index < found.manifest.chunks:
            return None
        return read_chunk(found, index)

    # ------------------------------------------------------------ writing
    def begin(self, height: Height) -> Path:
        """An empty directory in which the parts of a snapshot are to be made. Raises OSError."""
        work = self._directory / f"{height:020d}{TEMPORARY_SUFFIX}"
        self._files.remove_tree(work)
        work.mkdir()
        return work

    def link(self, source: Path, target: Path) -> bool:
        """Takes a file over from an older snapshot; False when it cannot be and must be written anew."""
        try:
            self._files.link(source, target)
        except OSError:
            return False
        return True

    def finish(
        self, work: Path, manifest: Manifest, heads: Mapping[RollupId, BlockNumber] | None = None
    ) -> NetworkSnapshot:
        """Makes a directory whose parts are complete and synced a snapshot; the oldest ones beyond the bound go.

        Raises OSError.
        """
        self._files.write_whole(work / MANIFEST_FILE, manifest.encoded)
        target = self._directory / f"{manifest.height:020d}"
        if target.exists():
            self._remove(target)
        self._files.rename(work, target)
        self._files.sync_directory(self._directory)
        if work.parent != self._directory:
            self._files.sync_directory(work.parent)
        snapshot = NetworkSnapshot(manifest, target, heads)
        with self._lock:
            others = [one for one in self._held if one.height != manifest.height]
            self._held = sorted([snapshot, *others], key=lambda one: one.height, reverse=True)
            doomed = self._held[NETWORK_SNAPSHOTS_KEPT:]
            self._held = self._held[:NETWORK_SNAPSHOTS_KEPT]
        for one in doomed:
            self._remove(one.path)
        return snapshot

    def _remove(self, path: Path) -> None:
        aside = path.with_name(f"{path.name}.old{TEMPORARY_SUFFIX}")
        self._files.remove_tree(aside)
        self._files.rename(path, aside)
        self._files.sync_directory(self._directory)
        self._files.remove_tree(aside)

    def _find(self) -> list[NetworkSnapshot]:
        found, self.skipped = find_snapshots(self._directory, self._network)
        return found[:NETWORK_SNAPSHOTS_KEPT]


def find_snapshots(directory: Path, network: Hash32 | None = None) -> tuple[list[NetworkSnapshot], list[str]]:
    """(snapshots, newest first; why others are not usable) in a directory, which stays as it is.

    Args:
        network: 32 bytes; None for any.
    """
    found: list[NetworkSnapshot] = []
    skipped: list[str] = []
    for path in sorted(directory.iterdir(), reverse=True) if directory.is_dir() else ():
        if not path.name.isdigit():
            continue
        try:
            manifest = read_manifest(path)
            if manifest.height != int(path.name) or (network is not None and manifest.network != network):
                raise CodecError("it is of another network or height")
            for part in manifest.parts:
                if (path / part.name).stat().st_size != part.size_bytes:
                    raise CodecError(f"its part {part.name} has another size")
            found.append(NetworkSnapshot(manifest, path))
        except (OSError, CodecError) as error:
            skipped.append(f"The network snapshot of height {int(path.name)} is not used: {error}.")
    return found, skipped


def read_chunk(snapshot: NetworkSnapshot, index: int) -> bytes | None:
    """A chunk as the manifest has it; None when its file is damaged. `index`: below the manifest's count."""
    part, offset, length = snapshot.manifest.locate(index)
    try:
        with (snapshot.path / part.name).open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), length, offset)
    except OSError:
        return None
    return data if sha256(data).digest() == snapshot.manifest.chunk_hash(index) else None


def read_manifest(path: Path) -> Manifest:
    """The manifest in a snapshot's directory. Raises OSError, CodecError."""
    with (path / MANIFEST_FILE).open("rb") as file:
        return decode_manifest(file.read(MANIFEST_BYTES_MAX + 1))


def describe(
    network: Hash32, height: Height, path: Path, rollups: Sequence[RollupParts], known: dict[str, bytes]
) -> Manifest:
    """The manifest of complete parts in `path`. `known`: chunk hashes of parts that need not be read again."""
    head_bytes = (path / HEAD).stat().st_size
    blank = Manifest(network, height, head_bytes, rollups, b"")
    hashes = b"".join(known.get(part.name) or _chunk_hashes(path / part.name, part) for part in blank.parts)
    return Manifest(network, height, head_bytes, rollups, hashes)


def _chunk_hashes(path: Path, part: Part) -> bytes:
    with path.open("rb", buffering=0) as file:
        return b"".join(sha256(file.read(NETWORK_SNAPSHOT_CHUNK_BYTES)).digest() for _ in part.chunks)
