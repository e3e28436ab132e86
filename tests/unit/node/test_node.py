"""Starting, restarting and refusing to start: what lies in the data directory decides."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from plait.errors import ConfigurationError, InvariantBroken, Unavailable
from plait.mempool import Admitted
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig, fingerprint
from plait.node.node import Node, open_storage, reset
from plait.node.verify import verify
from plait.storage import DecidedLog

MakeNetwork = Callable[..., NetworkConfig]
Transfer = Callable[..., bytes]


async def run_some(
    network: NetworkConfig | None, config: NodeConfig, transfer: Transfer, first: int, count: int
) -> Node:
    async with Node.start(network, config) as node:
        await until(node, lambda: node.health().ready)
        for chain_id in (901, 902):
            results = node.pool.submit(
                chain_id, [transfer(chain_id, nonce) for nonce in range(first, first + count)], node.clock.now_ms()
            )
            assert all(isinstance(one, Admitted) for one in results), results
        await until(node, lambda: node.pool.statistics()["transactions"] == 0)
    return node


async def until(node: Node, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        async for _ in node.bus.subscribe():
            if condition():
                return


@pytest.mark.parametrize("snapshots", [False, True])
async def test_a_second_start_goes_on_exactly_where_the_first_stopped(
    network: MakeNetwork, transfer: Transfer, tmp_path: Path, snapshots: bool
) -> None:
    config = NodeConfig(data_dir=tmp_path, snapshots=snapshots)
    first = await run_some(network(), config, transfer, 0, 30)
    async with Node.start(None, config) as node:
        assert node.restored.snapshot_height == (first.info().height if snapshots else 0)
        assert node.restored.application.app_hash == first.info().app_hash or node.info().height > first.info().height
        assert node.log.read(first.info().height).app_hash == first.info().app_hash
    await run_some(None, config, transfer, 30, 30)
    stored = open_storage(None, config)
    found = verify(stored)
    stored.log.close()
    stored.directory.close()
    assert found.difference is None
    assert found.transactions == 120
    assert bool(found.snapshots) == snapshots


async def test_a_damaged_snapshot_is_skipped_and_the_log_rebuilds_the_state(
    network: MakeNetwork, transfer: Transfer, tmp_path: Path
) -> None:
    config = NodeConfig(data_dir=tmp_path, snapshots=True)
    first = await run_some(network(), config, transfer, 0, 10)
    for path in (tmp_path / "snapshots").glob("*/rollup-901"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    async with Node.start(None, config) as node:
        assert node.restored.snapshot_height == 0
        assert "rollup-901" in node.restored.skipped[0]
        assert node.log.read(first.info().height).app_hash == first.info().app_hash


async def test_derived_data_may_be_deleted(network: MakeNetwork, transfer: Transfer, tmp_path: Path) -> None:
    config = NodeConfig(data_dir=tmp_path)
    await run_some(network(), config, transfer, 0, 5)
    async with Node.start(None, config) as node:
        await until(node, lambda: node.rollups[901].native.head.number >= 2)
        before = node.rollups[901].native.block_json(1, True)
        assert before is not None
    store = tmp_path / "store"
    for path in sorted(store.rglob("*"), reverse=True) if store.is_dir() else [store]:
        path.unlink() if path.is_file() else path.rmdir()
    async with Node.start(None, config) as node:
        assert node.rollups[901].native.block_json(1, True) == before


async def test_a_log_that_does_not_replay_is_refused(network: MakeNetwork, tmp_path: Path) -> None:
    config = NodeConfig(data_dir=tmp_path)
    async with Node.start(network(), config) as node:
        await until(node, lambda: node.info().height >= 2)
        name = fingerprint(node.network, node.genesis)
        records = list(node.log.iterate())
    for path in (tmp_path / "log").iterdir():
        path.unlink()
    log = DecidedLog(tmp_path / "log", name)
    for record in records[:-1]:
        log.append(record)
    log.append(msgspec.structs.replace(records[-1], app_hash=bytes(32)))
    log.close()
    with pytest.raises(InvariantBroken) as caught:
        async with Node.start(None, config):
            pass
    assert caught.value.code == "replay_diverged"
    stored = open_storage(None, config)
    found = verify(stored)
    assert found.code == "replay_diverged"
    assert f"Height {records[-1].height}" in str(found.difference)
    stored.log.close()
    stored.directory.close()


async def test_other_parameters_than_the_directorys_are_refused_by_name(network: MakeNetwork, tmp_path: Path) -> None:
    config = NodeConfig(data_dir=tmp_path)
    created = network()
    async with Node.start(created, config):
        pass
    other = msgspec.structs.replace(created, slot_ms=2_000)
    with pytest.raises(ConfigurationError, match="slot_ms is 1000 there, 2000 was asked for") as caught:
        async with Node.start(other, config):
            pass
    assert caught.value.code == "network_mismatch"
    reset(tmp_path)
    async with Node.start(other, config) as node:
        assert node.parameters.slot_ms == 2_000


async def test_two_nodes_cannot_share_a_data_directory(network: MakeNetwork, tmp_path: Path) -> None:
    config = NodeConfig(data_dir=tmp_path)
    async with Node.start(network(), config):
        with pytest.raises(Unavailable, match="in use"):
            async with Node.start(None, config):
                pass


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"slot_ms": 10}, "network_parameter_out_of_range"),
        ({"sub_blocks_per_slot": 0}, "network_parameter_out_of_range"),
        ({"rollups": ()}, "rollup_count"),
        ({"rollups": (RollupConfig(chain_id=901), RollupConfig(chain_id=901))}, "rollup_duplicate"),
        ({"rollups": (RollupConfig(chain_id=0),)}, "rollup_parameter_out_of_range"),
        ({"slot_ms": 1_500}, "block_time_not_whole_seconds"),
        ({"development_accounts": 11}, "development_accounts"),
    ],
)
def test_unusable_networks_are_refused_with_a_code(network: MakeNetwork, change: dict[str, object], code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        msgspec.structs.replace(network(), **change).check()
    assert caught.value.code == code


async def test_snapshots_are_written_while_heights_go_on(
    network: MakeNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.node.snapshot_keeper.SNAPSHOT_EVERY_HEIGHTS", 2)
    config = NodeConfig(data_dir=tmp_path)
    async with Node.start(network(), config) as node:
        await until(node, lambda: node.info().height >= 4)
        written = sorted(int(path.name) for path in (tmp_path / "snapshots").iterdir() if path.name.isdigit())
        assert written[0] == 2
    async with Node.start(None, config) as node:
        assert node.restored.replayed_heights == 0, "a clean stop writes a snapshot"
