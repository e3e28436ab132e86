"""Snapshots of a network whose registry changes: a rollup that waits to join, and one that joined."""

import asyncio
import time
from pathlib import Path

from plait.node.node import Node
from plait.node.restore import replay
from plait.node.state_sync import ApplyResult
from tests.integration.registry.test_registry_on_a_node import NEW, act, network, played, registration, transfer, until
from tests.integration.state_sync.chain import OpenHome, join


async def test_a_rollup_that_was_registered_is_taken_over_before_and_after_it_joins(tmp_path: Path) -> None:
    config = network()
    theirs = tmp_path / "theirs"

    async def registers(node: Node) -> None:
        waiting = act(node, registration(config, node.info().slot + 8))
        await until(lambda: (s := node.actions.status(waiting)) is not None and s.status == "decided", "registered")

    await played(theirs, config, registers)
    with OpenHome(theirs) as giver, OpenHome(tmp_path / "early", config) as early:
        assert NEW not in giver.application.rollups, "it waits"
        giver.take()
        assert join(giver.service, early.service, giver.application.app_hash).result is ApplyResult.ACCEPT
        assert early.application.ledger == giver.application.ledger

    async def joins(node: Node) -> None:
        await until(lambda: NEW in node.rollups and node.rollups[NEW].native.open_block is not None, "joined", 40)
        first = transfer(node, 0)
        await asyncio.wait_for(node.pool.wait(NEW, first, "sealed"), 10)
        second = transfer(node, 1)
        await asyncio.wait_for(node.pool.wait(NEW, second, "decided"), 10)

    await played(theirs, None, joins)
    with OpenHome(theirs) as giver, OpenHome(tmp_path / "early") as early, OpenHome(tmp_path / "late", config) as late:
        for record in giver.stored.log.iterate(early.stored.log.first_height):
            early.stored.log.append(record)
        replay(early.application, early.stored.log)
        assert early.application.info() == giver.application.info(), "it joins on a node that began before"
        started = time.perf_counter()
        giver.take()
        assert join(giver.service, late.service, giver.application.app_hash).result is ApplyResult.ACCEPT
        assert time.perf_counter() - started < 30
        assert late.application.info() == giver.application.info()
        mine, other = late.application.rollups[NEW], giver.application.rollups[NEW]
        assert mine.open_block.transaction_count == other.open_block.transaction_count
        assert mine.raw_block(mine.head.number) == other.raw_block(other.head.number)
    with OpenHome(tmp_path / "late") as again:
        assert NEW in again.application.rollups
        assert again.application.app_hash == late.application.app_hash
