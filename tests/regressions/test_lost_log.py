"""A node whose decided log lost its end never starts as if nothing had been decided.

With the log removed, or cut below a snapshot or a sealed block, it started anew in silence and decided the same heights
with other content. What a crash leaves behind still starts.
"""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from plait.errors import InvariantBroken
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.node import Node, open_storage
from plait.node.verify import Verification, verify
from plait.storage.record import SEGMENT_HEADER_BYTES
from plait.storage.segment import read_records
from plait.types import Height

BLOCKS = 2
HEIGHTS = 5


async def run_until(directory: Path, network: NetworkConfig | None, blocks: int, **config: bool) -> None:
    async with Node.start(network, NodeConfig(data_dir=directory, **config)) as node, asyncio.timeout(20):
        async for _ in node.bus.subscribe():
            heads = [handle.native.head.number for handle in node.rollups.values()]
            if min(heads) >= blocks and node.info().height >= HEIGHTS:
                break


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rollups with some sealed blocks, cleanly stopped: log, store and a snapshot of the last height."""
    path = tmp_path_factory.mktemp("network")
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=20,
        rollups=(RollupConfig(chain_id=901), RollupConfig(chain_id=902)),
    )
    asyncio.run(run_until(path, network, BLOCKS))
    return path


@pytest.fixture
def directory(stopped: Path, tmp_path: Path) -> Path:
    shutil.copytree(stopped, tmp_path / "copy")
    return tmp_path / "copy"


def cut(directory: Path, height: int) -> None:
    """Ends the log after `height`, at a record's boundary."""
    (path,) = (directory / "log").glob("*.segment")
    ends = [end for _, end, _ in read_records(path, offset=SEGMENT_HEADER_BYTES, height=Height(1))]
    with path.open("r+b") as file:
        file.truncate(ends[height - 1] if height else SEGMENT_HEADER_BYTES)


def verified(directory: Path) -> Verification:
    stored = open_storage(None, NodeConfig(data_dir=directory))
    try:
        return verify(stored)
    finally:
        stored.log.close()
        assert stored.directory is not None
        stored.directory.close()


async def refused(directory: Path, **config: bool) -> str:
    with pytest.raises(InvariantBroken) as caught:
        async with Node.start(None, NodeConfig(data_dir=directory, **config)):
            pass
    assert caught.value.code == "log_behind_state"
    return caught.value.message


@pytest.mark.parametrize("snapshots", [True, False])
@pytest.mark.parametrize("height", [0, 3])
async def test_log_cut_below_a_snapshot_is_refused_at_every_start(
    directory: Path, height: int, snapshots: bool
) -> None:
    newest = max(int(path.name) for path in (directory / "snapshots").iterdir())
    cut(directory, height)
    for _ in range(2):
        message = await refused(directory, snapshots=snapshots)
        assert f"ends at height {height}, but there is a snapshot of height {newest}" in message
        assert str(directory / "store") in message
    found = verified(directory)
    assert (found.code, found.heights) == ("log_behind_state", height)


@pytest.mark.parametrize("height", [0, 3, -1])
async def test_log_cut_below_a_stored_block_is_refused_at_every_start(directory: Path, height: int) -> None:
    """-1: right before the sub-block that sealed the last block."""
    shutil.rmtree(directory / "snapshots")
    if height < 0:
        stored = open_storage(None, NodeConfig(data_dir=directory))
        seals = _heights_that_seal(directory, stored.log.height)
        stored.log.close()
        assert stored.directory is not None
        stored.directory.close()
        height = seals[-1] - 1
    cut(directory, height)
    for _ in range(2):
        message = await refused(directory)
        assert f"ends at height {height}" in message
        assert "was sealed and stored" in message
    assert verified(directory).code == "log_behind_state"


def _heights_that_seal(directory: Path, top: int) -> list[int]:
    (path,) = (directory / "log").glob("*.segment")
    slots = [record.slot for _, _, record in read_records(path, offset=SEGMENT_HEADER_BYTES, height=Height(1))]
    assert len(slots) == top
    return [at + 1 for at in range(1, top) if slots[at] != slots[at - 1]]


@pytest.mark.parametrize("left", [("snapshots", "store"), ("store",), ("snapshots",)])
async def test_missing_log_is_refused_and_none_is_made(directory: Path, left: tuple[str, ...]) -> None:
    shutil.rmtree(directory / "log")
    for name in {"snapshots", "store"} - set(left):
        shutil.rmtree(directory / name)
    for _ in range(2):
        message = await refused(directory)
        assert "The decided log is missing" in message
        assert not any((directory / "log").glob("*"))


async def test_the_named_way_out_goes_on_from_the_height_that_is_left(directory: Path) -> None:
    cut(directory, 3)
    await refused(directory)
    shutil.rmtree(directory / "snapshots")
    shutil.rmtree(directory / "store")
    async with Node.start(None, NodeConfig(data_dir=directory)) as node:
        assert node.restored.replayed_heights == 3


async def test_restoring_the_log_from_a_copy_loses_nothing(stopped: Path, directory: Path) -> None:
    shutil.rmtree(directory / "log")
    await refused(directory)
    shutil.copytree(stopped / "log", directory / "log", dirs_exist_ok=True)
    await run_until(directory, None, BLOCKS)
    assert verified(directory).difference is None


async def test_store_ahead_of_an_interrupted_replay_starts(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store holds all blocks while the replay is at its beginning; it is killed there and started again."""

    class KilledError(Exception):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    shutil.rmtree(directory / "snapshots")
    with monkeypatch.context() as patch:
        patch.setattr("plait.node.restore.require_same", kill)
        with pytest.raises(KilledError):
            async with Node.start(None, NodeConfig(data_dir=directory)):
                pass
    await run_until(directory, None, BLOCKS)
    assert verified(directory).difference is None


async def test_store_and_snapshot_behind_the_log_start(stopped: Path, directory: Path) -> None:
    """A crash between append and commit, or a power cut, leaves an older store and older snapshots."""
    await run_until(directory, None, BLOCKS + 2)
    for name in ("store", "snapshots"):
        shutil.rmtree(directory / name)
        shutil.copytree(stopped / name, directory / name)
    await run_until(directory, None, BLOCKS + 2)
    assert verified(directory).difference is None


async def test_new_directory_whose_creation_was_interrupted_starts(directory: Path) -> None:
    """The network's parameters are written before the log, the store and the snapshots."""
    for name in ("log", "store", "snapshots"):
        shutil.rmtree(directory / name)
    await run_until(directory, None, 1)
    assert verified(directory).difference is None
