"""A damaged block store never keeps a node from starting: it is set aside and rebuilt from the decided log.

A flipped byte in any of the store's files ended the start with the engine's own words and no way out.
"""

import asyncio
import random
import shutil
import sys
import time
from pathlib import Path

import pytest
import structlog

from plait.errors import InvariantBroken
from plait.native import NativeError, Store
from plait.node.block_store import explained, is_damage, open_store
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.node import Node

BLOCKS = 2


async def blocks_of(directory: Path, network: NetworkConfig | None = None) -> tuple[int, list[bytes | None]]:
    """Runs the node until BLOCKS blocks are sealed; its height at the start, and these blocks."""
    async with Node.start(network, NodeConfig(data_dir=directory)) as node, asyncio.timeout(20):
        height = node.restored.application.info().height
        async for _ in node.bus.subscribe():
            if node.rollups[901].native.head.number >= BLOCKS:
                break
        return height, [node.rollups[901].native.raw_block(number) for number in range(BLOCKS + 1)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes | None]]:
    path = tmp_path_factory.mktemp("network")
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 1, sub_blocks_per_slot=20, rollups=(RollupConfig(chain_id=901),)
    )
    _, blocks = asyncio.run(blocks_of(path, network))
    assert all(blocks)
    return path, blocks


@pytest.fixture
def directory(stopped: tuple[Path, list[bytes | None]], tmp_path: Path) -> Path:
    shutil.copytree(stopped[0], tmp_path / "copy")
    return tmp_path / "copy"


async def start_again(directory: Path, stopped: tuple[Path, list[bytes | None]]) -> list[structlog.typing.EventDict]:
    """Starts, compares the blocks with the ones before; the warnings."""
    before = max(int(path.name) for path in (directory / "snapshots").iterdir())
    with structlog.testing.capture_logs() as events:
        height, blocks = await blocks_of(directory)
    assert height == before
    assert blocks == stopped[1]
    return [event for event in events if event["log_level"] == "warning"]


@pytest.mark.parametrize("files", ["keyspaces/*/current", "keyspaces/*/v*", "version"])
async def test_damaged_files_are_set_aside_with_one_warning_and_rebuilt(
    directory: Path, stopped: tuple[Path, list[bytes | None]], files: str
) -> None:
    found = [path for path in sorted((directory / "store").glob(files)) if path.is_file()]
    assert found
    for path in found:
        path.write_bytes(bytes(byte ^ 0x5A for byte in path.read_bytes()))
    (warning,) = await start_again(directory, stopped)
    assert warning["event"] == "store_set_aside"
    assert warning["reason"]
    assert (directory / "store.damaged").is_dir()
    assert await start_again(directory, stopped) == [], "the rebuilt store is good"


@pytest.mark.parametrize("seed", range(8))
async def test_any_damage_leaves_a_node_that_starts_with_the_same_blocks(
    directory: Path, stopped: tuple[Path, list[bytes | None]], seed: int
) -> None:
    source = random.Random(seed)
    files = sorted(path for path in (directory / "store").rglob("*") if path.is_file() and path.stat().st_size)
    path = source.choice(files)
    data = bytearray(path.read_bytes())
    filled = [at for at in range(len(data)) if data[at]] or [0]
    at = source.choice(filled)
    for offset in range(at, min(at + 16, len(data))):
        data[offset] ^= source.randrange(1, 256)
    path.write_bytes(data)
    await start_again(directory, stopped)


async def test_engine_that_ends_the_process_is_met_once(
    directory: Path, stopped: tuple[Path, list[bytes | None]]
) -> None:
    program = (
        "import os, sys; from pathlib import Path; from plait.node import block_store;"
        "block_store.Store = type('Store', (), {'open': lambda path: os.abort()});"
        "block_store.open_store(Path(sys.argv[1]))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(directory / "store"))
    assert await process.wait() < 0
    assert (directory / "store.opening").exists()
    (warning,) = await start_again(directory, stopped)
    assert "ended the process" in warning["reason"]
    assert not (directory / "store.opening").exists()
    assert await start_again(directory, stopped) == []


async def test_an_older_store_set_aside_is_replaced(directory: Path, stopped: tuple[Path, list[bytes | None]]) -> None:
    (directory / "store.damaged").mkdir()
    (directory / "store.damaged" / "old").touch()
    (directory / "store.opening").touch()
    await start_again(directory, stopped)
    assert (directory / "store.damaged").is_dir()
    assert not (directory / "store.damaged" / "old").exists()


def test_store_in_use_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_store(path)
    with pytest.raises(NativeError) as caught:
        open_store(path)
    assert caught.value.code == "store_locked"
    assert not is_damage(caught.value, path)
    assert not (tmp_path / "store.opening").exists()
    store.close()


@pytest.mark.parametrize(
    ("text", "damage", "code"),
    [
        ("block store: No space left on device (os error 28)", False, "disk_full"),
        ("block store: FjallError: Storage(Io(Os { code: 28, kind: StorageFull }))", False, "disk_full"),
        ("block store: Permission denied (os error 13)", False, "store_engine"),
        ("block store: FjallError: InvalidVersion(None)", True, "store_engine"),
        ("block store: FjallError: Storage(Io(Os { code: 22, kind: InvalidInput }))", True, "store_engine"),
    ],
)  # fmt: skip
def test_a_full_disk_is_no_damage_and_is_named(tmp_path: Path, text: str, damage: bool, code: str) -> None:
    error = NativeError(text)
    error.code = "store_engine"
    assert is_damage(error, tmp_path / "store") is damage
    told = explained(error, tmp_path / "store")
    assert isinstance(told, InvariantBroken)
    assert told.code == code
    assert str(tmp_path / "store") in told.message


def test_failure_that_is_not_the_stores_is_not_explained_as_one(tmp_path: Path) -> None:
    store = Store.in_memory()
    store.close()
    with pytest.raises(NativeError) as caught:
        store.head_number(901)
    assert explained(caught.value, tmp_path) is None
