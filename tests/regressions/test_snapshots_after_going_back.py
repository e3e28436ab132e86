"""A snapshot for other nodes after blocks were taken back: files of the one before held the blocks that are gone."""

from pathlib import Path

import pytest

from plait.engines.decision import record_of
from plait.native import Store
from plait.node import network_snapshot
from plait.node.network_snapshot import freeze, write_network_snapshot
from plait.node.take_over import Taken, check_head, check_parts, read_head, take_over
from plait.storage import MemoryLog
from plait.storage.network_snapshots import NetworkSnapshots
from plait.types import Hash32
from sim.l1_world import L1World

NETWORK = Hash32(b"\x07" * 32)


def test_a_snapshot_after_going_back_holds_the_blocks_of_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks 20 to 40 and the end of a file among them are replaced between two snapshots; a new node takes the second
    one over."""
    monkeypatch.setattr(network_snapshot, "NETWORK_SNAPSHOT_SPAN_BLOCKS", 16)
    world = L1World(rollups=1, embedded=1)
    log = MemoryLog()
    snapshots = NetworkSnapshots(tmp_path, NETWORK)

    def seconds(count: int) -> None:
        for _ in range(count):
            world.l1.grow()
            world.report()
            log.append(record_of(world.step(2_000)))

    seconds(20)
    write_network_snapshot(freeze(world.nodes[0]), log, snapshots, NETWORK)
    world.l1.reorganise(10, grow=1)
    seconds(20)
    assert any(effect.unwound for effect in world.decided)
    state = freeze(world.nodes[0])
    taken = write_network_snapshot(state, log, snapshots, NETWORK)
    ledger = check_head(read_head(taken.path), state.height, state.app_hash)
    check_parts(taken.manifest, ledger)
    found = take_over(
        taken.path,
        Taken(ledger, state.app_hash, {}),
        Store.in_memory(),
        lambda _: world.network.genesis,
        world.network.source,
    )
    for rollup_id, rollup in found.rollups.items():
        assert rollup.head.hash == world.nodes[0].rollups[rollup_id].head.hash
