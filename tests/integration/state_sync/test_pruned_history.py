"""A node that began from a snapshot has no older blocks and heights: it says so, and is otherwise like any other."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.execution.candidate import Candidate
from plait.execution.messages import lookup_of
from plait.interop.identifiers import LogIndex, MessageChainId
from plait.interop.validity import LogAbsence
from plait.limits import LOG_KEEP_HEIGHTS_MIN
from plait.node.config import NodeConfig
from plait.node.network_snapshot import freeze
from plait.node.node import Node
from plait.node.state_sync import ApplyResult
from plait.node.verify import verify
from plait.rpc import RpcConfig, serve
from plait.types import BlockNumber
from sim.listening import Running
from tests.integration.state_sync.chain import OpenHome, join, two_rollups

SLOTS = 200


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are valid for 40 s, so that a chain of minutes has blocks that nobody needs."""
    monkeypatch.setattr("plait.node.network_snapshot.MESSAGE_LOGS_KEPT_S", 40)
    monkeypatch.setattr("plait.execution.messages.MESSAGE_LOGS_KEPT_S", 40)
    monkeypatch.setattr("plait.rpc.interop.MESSAGE_LOGS_KEPT_S", 40)
    monkeypatch.setattr("plait.node.network_snapshot.RECENT_BLOCKS", 20)
    monkeypatch.setattr("plait.node.network_snapshot.NETWORK_SNAPSHOT_SPAN_BLOCKS", 16)


@pytest.fixture
def homes(short_window: None, tmp_path: Path) -> Iterator[tuple[OpenHome, OpenHome]]:
    """A node of 200 slots, and one that joined at its end."""
    network = two_rollups(int(time.time()) - SLOTS - 5)
    with OpenHome(tmp_path / "giver", network) as giver, OpenHome(tmp_path / "taker", network) as taker:
        giver.decide(SLOTS, transactions=3, slot_every=1)
        giver.take()
        assert join(giver.service, taker.service, giver.application.app_hash).result is ApplyResult.ACCEPT
        yield giver, taker


def test_only_the_blocks_that_messages_may_come_from_are_carried_over(homes: tuple[OpenHome, OpenHome]) -> None:
    giver, taker = homes
    mine, theirs = taker.application.rollups[901], giver.application.rollups[901]
    head = theirs.head.number
    held = [number for number in range(head + 1) if mine.raw_header(number) is not None]
    lowest = (theirs.open_block.number - 40) // 16 * 16
    assert held == [0, *range(lowest, head + 1)]
    assert taker.application.info() == giver.application.info()


def test_the_origin_of_a_message_is_judged_alike_with_and_without_history(homes: tuple[OpenHome, OpenHome]) -> None:
    """Every block number and index gives the same answer on both nodes: a difference would split the network."""
    answers = []
    for home in homes:
        lookup = lookup_of(Candidate.over(home.application.rollups))
        newest = home.application.rollups[901].open_block.number
        answers.append(
            {
                (number, index): lookup(MessageChainId(901), BlockNumber(number), LogIndex(index))
                for number in (*range(newest + 3), 2**40)
                for index in (0, 1, 2**20)
            }
        )
    assert answers[0] == answers[1]
    assert {LogAbsence.PRUNED, LogAbsence.NO_SUCH_LOG, LogAbsence.FUTURE_BLOCK} <= {
        one for one in answers[0].values() if isinstance(one, LogAbsence)
    }
    assert any(not isinstance(one, LogAbsence) for one in answers[0].values()), "some logs are found"


def test_the_log_of_a_node_that_joined_is_verified_from_its_snapshot(homes: tuple[OpenHome, OpenHome]) -> None:
    _, taker = homes
    taker.decide(20, transactions=2, slot_every=1)
    path = taker.stored.directory.path
    taker.close()
    with OpenHome(path) as again:
        again.restored.store.close()
        found = verify(again.stored)
        assert (found.difference, found.heights, found.transactions) == (None, SLOTS + 20, 40)


def test_pruned_heights_and_blocks_are_refused_by_name_over_rpc(homes: tuple[OpenHome, OpenHome]) -> None:
    giver, taker = homes
    head = giver.application.rollups[901].head.number
    path = taker.stored.directory.path
    taker.close()

    async def ask() -> None:
        config = RpcConfig(port=0, rollup_port_base=None)
        async with (
            Node.start(None, NodeConfig(data_dir=path, log_level="error")) as node,
            serve(node, config) as server,
        ):
            await asyncio.to_thread(questions, Running(node, server, asyncio.get_running_loop()))

    def questions(node: Running) -> None:
        kept, gone = hex(head - 5), hex(30)
        for method, params in (
            ("eth_getBlockByNumber", (gone, False)),
            ("eth_getBlockReceipts", (gone,)),
            ("eth_getBlockTransactionCountByNumber", (gone,)),
            ("eth_getTransactionByBlockNumberAndIndex", (gone, "0x0")),
            ("eth_getLogs", ({"fromBlock": gone, "toBlock": kept},)),
            ("eth_getLogs", ({"fromBlock": "earliest", "toBlock": kept},)),
            ("eth_feeHistory", ("0x80", kept, [])),
            ("debug_getRawBlock", (gone,)),
        ):
            error = node.error(method, *params)
            assert (error["code"], error["data"]["code"]) == (4444, "block_pruned"), (method, error)
            assert "pruned history unavailable" in error["message"]
        assert node.call("eth_getBlockByNumber", "0x0", False)["number"] == "0x0"
        assert node.call("eth_getBlockByNumber", kept, True)["number"] == kept
        assert node.call("eth_getBlockByNumber", hex(2**40), False) is None
        assert isinstance(node.call("eth_getLogs", {"fromBlock": kept, "toBlock": "latest"}), list)
        assert node.call("eth_feeHistory", "0x4", "latest", [])["oldestBlock"]
        error = node.error("plait_getSubBlock", 5, rollup=None)
        assert (error["code"], error["data"]["code"]) == (4444, "height_pruned")
        assert error["data"]["first_height"] == SLOTS + 1
        transaction = node.call("eth_getBlockByNumber", kept, False)["transactions"][0]
        assert node.call("plait_getTransactionStatus", transaction)["status"] == "sealed"

    asyncio.run(ask())


def test_old_segments_go_when_a_bound_is_set_and_the_node_starts_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What snapshots and the bound need stays; the state after a restart is the same."""
    network = two_rollups(int(time.time()) - 600)
    with OpenHome(tmp_path / "home", network) as home:
        home.stored.log._segment_bytes_max = 40_000
        home.decide(2 * LOG_KEEP_HEIGHTS_MIN, transactions=1)
        height = home.height

    async def run() -> int:
        config = NodeConfig(
            data_dir=tmp_path / "home",
            log_level="error",
            keep_heights=LOG_KEEP_HEIGHTS_MIN,
            network_snapshot_every_heights=1,
        )
        async with Node.start(None, config) as node:
            assert node.info().height >= height
            deadline = time.monotonic() + 20
            while node.log.first_height == 1 and time.monotonic() < deadline:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
            return node.log.first_height

    first = asyncio.run(run())
    assert LOG_KEEP_HEIGHTS_MIN // 2 < first <= height - LOG_KEEP_HEIGHTS_MIN + 50
    with OpenHome(tmp_path / "home") as again:
        assert again.stored.log.first_height == first
        assert again.height >= height
        assert freeze(again.application).height == again.height
