"""A process that joins from a snapshot on this disk, to be killed: HOME SNAPSHOT APP_HASH."""

import sys
from pathlib import Path

from plait.node.state_sync import ApplyResult, OfferResult, SnapshotDescription
from plait.storage import Files
from plait.storage.manifest import FORMAT
from plait.storage.network_snapshots import NetworkSnapshots
from tests.integration.state_sync.chain import OpenHome, two_rollups


def main(home: Path, snapshot: Path, app_hash: bytes) -> None:
    """Joins, telling when it begins and when it has been accepted."""
    taker = OpenHome(home, two_rollups(), files=Files())
    theirs = NetworkSnapshots(snapshot.parent, taker.service._home.network)
    held = theirs.newest()
    assert held is not None
    manifest = held.manifest
    offered = SnapshotDescription(
        height=manifest.height,
        format=FORMAT,
        chunks=manifest.chunks,
        hash=manifest.hash,
        metadata=manifest.encoded,
    )
    print("joining", flush=True)
    assert taker.service.offer(offered, app_hash) is OfferResult.ACCEPT
    for index in range(manifest.chunks):
        chunk = theirs.chunk(manifest.height, index)
        assert chunk is not None
        assert taker.service.apply_chunk(index, chunk, "peer").result is ApplyResult.ACCEPT
    print("joined", flush=True)
    taker.close()


main(Path(sys.argv[1]), Path(sys.argv[2]), bytes.fromhex(sys.argv[3]))
