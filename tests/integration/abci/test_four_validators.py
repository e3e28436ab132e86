"""Four validators with a real CometBFT each, in one process: what one proposes all check, and all end equal."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from comet_network import make_network, require_cometbft
from comet_nodes import engine_of, equal, network, submit, until_height

from plait.engines.cometbft.rpc_client import CometRpc

sys.path.append(str(Path(__file__).resolve().parents[2] / "conformance" / "abci"))
from grammar import check_directory

pytestmark = [pytest.mark.cometbft, pytest.mark.timeout(420)]


async def test_a_transaction_of_one_pool_is_decided_by_all_and_all_are_equal(tmp_path: Path) -> None:
    require_cometbft()
    configs = make_network(tmp_path, 4)
    async with network(configs) as nodes:
        await until_height(nodes, 2)
        decided: set[bytes] = set()
        subscription = nodes[3].bus.subscribe()
        wanted = submit(nodes[1], 3)
        async with asyncio.timeout(30):
            while not wanted <= decided:
                effect = await anext(subscription)
                for rollup in effect.rollups:
                    decided |= {transaction.hash for transaction in rollup.transactions}
        await until_height(nodes, nodes[0].info().height + 2)
        equal(nodes)
        async with CometRpc(f"http://127.0.0.1:{configs[0].comet_rpc_port}") as rpc:
            assert (await rpc.net_info())["n_peers"] == "3"
            assert len((await rpc.validators())["validators"]) == 4
            commit = await rpc.commit(3)
            assert commit["signed_header"]["header"]["chain_id"] == "plait-7901"
            results = await rpc.block_results(2)
            assert len(results["txs_results"]) == 1
        proposers = {record.agreed.proposer for node in nodes[:1] for record in node.log.iterate()}
        assert len(proposers) == 4, "all four lead in turn"
    judged, violations = check_directory(tmp_path)
    assert violations == []
    assert judged > 40


async def test_a_byzantine_proposer_is_rejected_by_name_and_costs_one_round(tmp_path: Path) -> None:
    require_cometbft()
    configs = make_network(tmp_path, 4)
    async with network(configs) as nodes:
        await until_height(nodes, 2)
        liar = nodes[0]._application
        honest = liar.prepare
        lies = iter((b"", b"garbage", b"\xc4\x80\x80\x80\x80"))

        def lie(request: Any) -> Any:
            return msgspec.structs.replace(honest(request), proposal=next(lies, None) or honest(request).proposal[:-1])

        liar.prepare = lie  # type: ignore[method-assign]
        start = nodes[0].info().height
        await until_height(nodes[1:], start + 9)
        liar.prepare = honest  # type: ignore[method-assign]
        rejected = [engine_of(node).rejected for node in nodes[1:]]
        assert all(sum(counts.values()) >= 2 for counts in rejected), rejected
        assert all(set(counts) <= {"codec_invalid", "proposal_malformed"} for counts in rejected), rejected
        await until_height(nodes, start + 12)
        equal(nodes)
        proposals = [record for record in nodes[1].log.iterate() if start < record.height <= start + 9]
        assert len(proposals) == 9, "every height was decided, each by an honest proposal"
    assert check_directory(tmp_path)[1] == []


async def test_a_node_that_was_away_catches_up_and_votes_again(tmp_path: Path) -> None:
    require_cometbft()
    configs = make_network(tmp_path, 4)
    async with network(configs[:3]) as nodes:
        await until_height(nodes, 6)
        async with network(configs[3:]) as late:
            await until_height(late, 8)
            accepted = engine_of(late[0]).statistics().accepted
            await until_height(late, late[0].info().height + 6)
            assert engine_of(late[0]).statistics().accepted > accepted, "it checks proposals itself again"
            equal([*nodes, *late])
        height = nodes[0].info().height
        async with network(configs[3:]) as late:
            await until_height([*nodes, *late], height + 8)
            equal([*nodes, *late])
    assert check_directory(tmp_path)[1] == []
