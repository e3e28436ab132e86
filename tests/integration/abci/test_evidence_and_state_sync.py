"""What CometBFT proves and what it fetches, through the real thing: a double sign that its evidence pool has verified
ends in our ledger, and a new node takes a snapshot of ours with its state sync.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from comet_network import add_node, make_network, require_cometbft
from comet_nodes import engine_of, equal, network, submit, until_height

from plait.engines.cometbft.home import public_key_of
from plait.engines.cometbft.rpc_client import CometRpc, CometRpcError
from plait.light.blocks import format_time, parse_time
from plait.light.commits import vote_sign_bytes
from plait.light.headers import BlockId
from plait.native import ed25519_sign
from plait.node.config import NodeConfig
from plait.node.home import consensus_seed
from plait.types import Height, MisbehaviorKind
from plait.types.consensus import consensus_address

sys.path.append(str(Path(__file__).resolve().parents[2] / "conformance" / "abci"))
from grammar import check_directory

pytestmark = [pytest.mark.cometbft, pytest.mark.timeout(420)]
PREVOTE = 1


def rpc_of(config: NodeConfig) -> CometRpc:
    return CometRpc(f"http://127.0.0.1:{config.comet_rpc_port}")


async def double_sign(config: NodeConfig, rpc: CometRpc, height: int) -> dict[str, Any]:
    """Evidence, in CometBFT's JSON, of two prevotes of a node's key for one height and round."""
    assert config.data_dir is not None
    seed = consensus_seed(config.data_dir)
    header = (await rpc.commit(height))["signed_header"]["header"]
    validators = (await rpc.validators(height))["validators"]
    chain_id, time_ns = header["chain_id"], parse_time(header["time"])
    votes = []
    for mark in (b"\x01", b"\x02"):
        block_id = BlockId(mark * 32, 1, mark * 32)
        message = vote_sign_bytes(chain_id, PREVOTE, height=height, round_=0, block_id=block_id, time_ns=time_ns)
        votes.append((block_id, base64.b64encode(ed25519_sign(seed, message)).decode()))
    own = next(one for one in validators if one["address"] == address_of(config))
    index = validators.index(own)
    encoded = [
        {
            "type": PREVOTE,
            "height": str(height),
            "round": 0,
            "block_id": {
                "hash": block_id.hash.hex().upper(),
                "parts": {"total": 1, "hash": block_id.parts_hash.hex().upper()},
            },
            "timestamp": format_time(time_ns),
            "validator_address": own["address"],
            "validator_index": index,
            "signature": signature,
        }
        for block_id, signature in votes
    ]
    return {
        "type": "tendermint/DuplicateVoteEvidence",
        "value": {
            "vote_a": encoded[0],
            "vote_b": encoded[1],
            "TotalVotingPower": str(sum(int(one["voting_power"]) for one in validators)),
            "ValidatorPower": own["voting_power"],
            "Timestamp": header["time"],
        },
    }


def address_of(config: NodeConfig) -> str:
    """CometBFT's address of a node's key, upper case hex."""
    assert config.data_dir is not None
    return consensus_address(public_key_of(config.data_dir)).hex().upper()


async def test_a_double_sign_that_cometbft_verified_is_slashed_on_every_node(tmp_path: Path) -> None:
    require_cometbft()
    configs = make_network(tmp_path, 4)
    async with network(configs) as nodes, rpc_of(configs[0]) as rpc:
        await until_height(nodes, 4)
        evidence = await double_sign(configs[3], rpc, 3)
        operator = bytes(19) + b"\x04"
        before = nodes[0].economy.validators.get(operator)
        assert before is not None

        forged = msgspec.json.decode(msgspec.json.encode(evidence))
        forged["value"]["vote_b"]["signature"] = forged["value"]["vote_a"]["signature"]
        with pytest.raises(CometRpcError, match="verifying VoteB"):
            await rpc.broadcast_evidence(forged)

        subscription = nodes[1].bus.subscribe()
        await rpc.broadcast_evidence(evidence)
        async with asyncio.timeout(20):
            while not (effect := await anext(subscription)).agreed.misbehavior:
                pass
        (found,) = effect.agreed.misbehavior
        assert found.kind == MisbehaviorKind.DUPLICATE_VOTE
        assert found.address.hex().upper() == address_of(configs[3])
        assert (found.height, found.power, found.total_power) == (3, 10, 40)
        assert [update.power for update in effect.validator_updates] == [0]
        await until_height(nodes, effect.height + 4)
        for node in nodes:
            after = node.economy.validators.get(operator)
            assert after is not None
            assert after.tombstoned
            assert after.tokens < before.tokens
        assert len((await rpc.validators(effect.height + 1))["validators"]) == 4
        assert len((await rpc.validators(effect.height + 2))["validators"]) == 3, "an update acts at H + 2"
        slashed = nodes[0].economy.validators.get(operator)
        await rpc.broadcast_evidence(evidence)
        await until_height(nodes, nodes[0].info().height + 3)
        assert nodes[0].economy.validators.get(operator) == slashed, "once is enough"
        equal(nodes)
    assert check_directory(tmp_path)[1] == []


async def test_a_new_node_takes_a_snapshot_through_cometbft_and_follows(tmp_path: Path) -> None:
    require_cometbft()
    configs = [
        msgspec.structs.replace(config, network_snapshot_every_heights=30) for config in make_network(tmp_path, 2)
    ]
    late = add_node(tmp_path, configs)
    async with network(configs) as nodes:
        await until_height(nodes, 2)
        submit(nodes[0], 3)
        await until_height(nodes, 34)
        async with rpc_of(configs[0]) as rpc:
            trusted = (await rpc.commit(5))["signed_header"]["commit"]
        late = msgspec.structs.replace(
            late,
            sync_servers=tuple(f"127.0.0.1:{config.comet_rpc_port}" for config in configs),
            sync_trust_height=int(trusted["height"]),
            sync_trust_hash=trusted["block_id"]["hash"],
        )
        async with network([late]) as (joined,):
            subscription = joined.bus.subscribe()
            async with asyncio.timeout(60):
                first = await anext(subscription)
            assert first.height > 10, "it did not replay from the beginning"
            assert joined.log.first_height > 1
            height = nodes[0].info().height
            await until_height([joined], height + 3)
            for at in range(first.height, height + 3):
                one, other = joined.log.read(Height(at)), nodes[0].log.read(Height(at))
                assert one is not None
                assert one == other
            assert joined.economy == nodes[0].economy or joined.info().height != nodes[0].info().height
            restored_height = joined.info().height
        async with network([late]) as (joined,):
            assert joined.info().height >= restored_height, "a restart goes on from its own disk"
            assert joined.info().height > 10
            await until_height([joined], nodes[0].info().height + 2)
            assert engine_of(joined).statistics().heights > 0
    judged, violations = check_directory(tmp_path)
    assert violations == []
    assert judged > 100
