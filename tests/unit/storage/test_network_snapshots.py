"""Network snapshots on disk: manifests, chunks, what is kept, what is received."""

from hashlib import sha256
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from plait.errors import CodecError, Unavailable
from plait.limits import (
    NETWORK_SNAPSHOT_CHUNK_BYTES,
    NETWORK_SNAPSHOT_CHUNKS_MAX,
    NETWORK_SNAPSHOT_FREE_BYTES_MIN,
    NETWORK_SNAPSHOTS_KEPT,
)
from plait.storage.manifest import Manifest, RollupParts, decode_manifest
from plait.storage.network_snapshots import NetworkSnapshots, describe
from plait.storage.received import ReceivedSnapshot

NETWORK = b"n" * 32
CHUNK = NETWORK_SNAPSHOT_CHUNK_BYTES


def manifest_of(height: int = 7, sizes: tuple[int, ...] = (100, CHUNK + 1, 3)) -> Manifest:
    rollups = [RollupParts(901, 1, sizes, 2 * CHUNK), RollupParts(902, 9, (), 5)]
    chunks = Manifest(NETWORK, height, 50, rollups, b"").chunks
    return Manifest(NETWORK, height, 50, rollups, bytes(range(32)) * chunks)


def written(snapshots: NetworkSnapshots, height: int, seed: int = 1) -> Manifest:
    """A snapshot of random parts."""
    random = Random(seed)
    work = snapshots.begin(height)
    blank = manifest_of(height)
    for part in blank.parts:
        (work / part.name).write_bytes(random.randbytes(part.size_bytes))
    manifest = describe(NETWORK, height, work, blank.rollups, {})
    snapshots.finish(work, manifest)
    return manifest


def test_a_manifest_is_read_as_it_was_written_and_in_no_other_form() -> None:
    manifest = manifest_of()
    again = decode_manifest(manifest.encoded)
    assert (again.encoded, again.hash, again.chunks) == (manifest.encoded, manifest.hash, manifest.chunks)
    assert again.hash == sha256(manifest.encoded).digest()
    for end in range(len(manifest.encoded)):
        with pytest.raises(CodecError):
            decode_manifest(manifest.encoded[:end])
    with pytest.raises(CodecError):
        decode_manifest(manifest.encoded + b"\x00")


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_are_nearly_a_manifest_are_refused_or_are_another_one(seed: int) -> None:
    random = Random(seed)
    good = manifest_of().encoded
    for _ in range(200):
        data = bytearray(good)
        data[random.randrange(len(data))] = random.randrange(256)
        try:
            read = decode_manifest(bytes(data))
        except CodecError:
            continue
        assert read.encoded == bytes(data)
        assert read.chunks <= NETWORK_SNAPSHOT_CHUNKS_MAX
        assert len(read.hashes) == 32 * read.chunks


def test_sizes_that_no_snapshot_has_are_refused_before_anything_is_made_of_them() -> None:
    good = manifest_of()
    huge = RollupParts(901, 1, (2**63,), 1)
    for rollups in ([huge], [RollupParts(901, 0, (), 1)], [RollupParts(902, 1, (), 1), RollupParts(901, 1, (), 1)]):
        with pytest.raises(CodecError):
            decode_manifest(Manifest(NETWORK, 7, 50, rollups, good.hashes).encoded)
    with pytest.raises(CodecError):
        decode_manifest(Manifest(NETWORK, 0, 50, good.rollups, good.hashes).encoded)
    with pytest.raises(CodecError):
        decode_manifest(bytes(10**7))


def test_the_chunks_of_a_manifest_are_all_bytes_of_all_parts_in_order() -> None:
    manifest = manifest_of()
    seen: dict[str, int] = {}
    for index in range(manifest.chunks):
        part, offset, length = manifest.locate(index)
        assert offset == seen.get(part.name, 0)
        assert 0 < length <= CHUNK
        seen[part.name] = offset + length
    assert seen == {part.name: part.size_bytes for part in manifest.parts}
    assert manifest.total_bytes == sum(seen.values())


def test_what_was_written_is_sent_chunk_by_chunk_and_damaged_files_are_not(tmp_path: Path) -> None:
    snapshots = NetworkSnapshots(tmp_path, NETWORK)
    manifest = written(snapshots, 7)
    chunks = [snapshots.chunk(7, index) for index in range(manifest.chunks)]
    assert all(chunk is not None for chunk in chunks)
    assert snapshots.chunk(7, manifest.chunks) is None
    assert snapshots.chunk(7, -1) is None
    assert snapshots.chunk(8, 0) is None
    path = tmp_path / f"{7:020d}" / "901-blocks-1"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    again = [snapshots.chunk(7, index) for index in range(manifest.chunks)]
    assert [index for index, chunk in enumerate(again) if chunk is None] == [4]


def test_only_the_newest_are_kept_and_foreign_or_incomplete_ones_are_named(tmp_path: Path) -> None:
    snapshots = NetworkSnapshots(tmp_path, NETWORK)
    for height in (1, 2, 3, 4):
        written(snapshots, height, height)
    assert [one.height for one in snapshots.held()] == [4, 3]
    assert len(list(tmp_path.iterdir())) == NETWORK_SNAPSHOTS_KEPT
    (tmp_path / f"{4:020d}" / "902-state").unlink()
    found = NetworkSnapshots(tmp_path, NETWORK)
    assert [one.height for one in found.held()] == [3]
    assert len(found.skipped) == 1
    assert NetworkSnapshots(tmp_path, b"m" * 32).held() == ()
    snapshots.begin(9)
    NetworkSnapshots(tmp_path, NETWORK)
    assert not list(tmp_path.glob("*.tmp"))


def test_chunks_are_taken_in_any_order_and_wrong_ones_are_not(tmp_path: Path) -> None:
    snapshots = NetworkSnapshots(tmp_path / "theirs", NETWORK)
    manifest = written(snapshots, 7)
    received = ReceivedSnapshot(tmp_path / "mine", manifest)
    order = list(range(manifest.chunks))
    Random(3).shuffle(order)
    for index in order:
        chunk = snapshots.chunk(7, index)
        assert chunk is not None
        assert not received.complete
        assert not received.put(index, chunk[:-1])
        assert not received.put(index, chunk + b"\x00")
        assert not received.put(index, bytes([chunk[0] ^ 1]) + chunk[1:])
        assert not received.put(index, b"")
        assert received.put(index, chunk)
        assert received.put(index, chunk), "again is no harm"
    assert received.complete
    for part in manifest.parts:
        assert received.path(part).read_bytes() == (snapshots.held()[0].path / part.name).read_bytes()
    received.discard()
    assert not (tmp_path / "mine").exists()


def test_a_snapshot_that_the_disk_cannot_hold_twice_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = manifest_of()
    room = 2 * manifest.total_bytes + NETWORK_SNAPSHOT_FREE_BYTES_MIN
    for free, fits in ((room, True), (room - 1, False)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if fits:
            ReceivedSnapshot(tmp_path / "mine", manifest)
            continue
        with pytest.raises(Unavailable) as caught:
            ReceivedSnapshot(tmp_path / "mine", manifest)
        assert caught.value.code == "disk_full"
