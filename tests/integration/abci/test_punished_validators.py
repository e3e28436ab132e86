"""A validator of a real network that signs twice is found, reported and slashed on every node: two votes by CometBFT's
own evidence, two proposals by what another node's consensus log holds."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from comet_network import STAKE, make_network, require_cometbft

from plait.crypto.actions import sign_action
from plait.engines.cometbft.rpc_client import CometRpc
from plait.engines.cometbft.wal import double_proposals, proposals
from plait.ledger.equivocation import encode_equivocation, judge
from plait.ledger.parameters import TOKEN
from plait.ledger.slashing import EvidenceKind
from plait.ledger.stake_records import Validator
from plait.light.commits import PRECOMMIT, proposal_sign_bytes, vote_sign_bytes
from plait.light.headers import BlockId
from plait.light.protobuf import bytes_field, message_field, timestamp, uint_field
from plait.native import ed25519_sign
from plait.node.config import AccountConfig, NetworkConfig, NodeConfig
from plait.node.home import consensus_seed
from plait.node.node import Node
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address
from plait.types.action import SubmitEvidence

pytestmark = [pytest.mark.cometbft, pytest.mark.timeout(120)]

REPORTER = DEVELOPMENT_ACCOUNTS[5]
CULPRIT = 3
"""Index of the validator that misbehaves; three of four go on without it."""


def funded(network: NetworkConfig) -> NetworkConfig:
    account = AccountConfig(address="0x" + REPORTER.address.hex(), balance=10 * TOKEN)
    return msgspec.structs.replace(network, accounts=(account,))


@asynccontextmanager
async def running(configs: list[NodeConfig]) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Node.start(None, config)) for config in configs]


async def until(holds: Callable[[], bool], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - the ledger of every node is asked, no single event tells
            await asyncio.sleep(0.05)


def culprit_of(node: Node) -> Validator:
    found = node.economy.validators.get((CULPRIT + 1).to_bytes(20, "big"))
    assert found is not None
    return found


def punished(nodes: list[Node]) -> bool:
    return all(culprit_of(node).tombstoned and not culprit_of(node).power for node in nodes)


def home_of(config: NodeConfig) -> Path:
    assert config.data_dir is not None
    return config.data_dir


async def test_two_votes_for_one_height_and_round_are_slashed_on_every_node(tmp_path: Path) -> None:
    require_cometbft()
    configs = make_network(tmp_path, 4, change=funded)
    seed = consensus_seed(home_of(configs[CULPRIT]))
    async with running(configs) as nodes, CometRpc(f"http://127.0.0.1:{configs[0].comet_rpc_port}") as rpc:
        await until(lambda: nodes[0].info().height >= 4)
        validators = (await rpc.validators(2))["validators"]
        header = (await rpc.commit(2))["signed_header"]["header"]
        time_ns = _nanoseconds(header["time"])
        address = nodes[CULPRIT].economy.keys
        consensus_address = next(key for key, operator in address.items() if operator[-1] == CULPRIT + 1)
        place = [one["address"] for one in validators].index(consensus_address.hex().upper())
        votes = []
        for block in sorted((b"\x11" * 32, b"\x22" * 32)):
            block_id = BlockId(hash=block, parts_total=1, parts_hash=block)
            signed = vote_sign_bytes(
                header["chain_id"], PRECOMMIT, height=2, round_=0, block_id=block_id, time_ns=time_ns
            )
            votes.append(_vote(block_id, header["time"], consensus_address, place, ed25519_sign(seed, signed)))
        power = int(validators[place]["voting_power"])
        await rpc.broadcast_evidence(
            {
                "type": "tendermint/DuplicateVoteEvidence",
                "value": {
                    "vote_a": votes[0],
                    "vote_b": votes[1],
                    "TotalVotingPower": str(sum(int(one["voting_power"]) for one in validators)),
                    "ValidatorPower": str(power),
                    "Timestamp": header["time"],
                },
            }
        )
        await until(lambda: punished(nodes))
        height = nodes[0].info().height
        await until(lambda: min(node.info().height for node in nodes) >= height + 4)
        for node in nodes:
            assert culprit_of(node).tokens == STAKE * 95 // 100, "five percent are gone"
        assert len((await rpc.validators())["validators"]) == 3, "CometBFT has taken it out of the set"


async def test_two_proposals_for_one_round_are_found_in_a_consensus_log_and_slashed(tmp_path: Path) -> None:
    require_cometbft()
    configs = make_network(tmp_path, 4, change=funded)
    seed = consensus_seed(home_of(configs[CULPRIT]))
    async with running(configs) as nodes:
        await until(lambda: nodes[0].info().height >= 10)
        chain_id, key = "plait-7901", culprit_of(nodes[0]).public_key
        log = home_of(configs[0]) / "cometbft" / "data" / "cs.wal"
        keys = [validator.public_key for _, validator in nodes[0].economy.validators.items()]
        logged = list(proposals(log, chain_id))
        assert len({one.height for one in logged}) >= 9, "every height has a proposal in the log"
        assert double_proposals(log, chain_id, keys) == [], "nobody signed twice so far"

        copy = tmp_path / "copy"
        shutil.copytree(log, copy)
        own = next(one for one in logged if judge_self(one.sign_bytes, one.signature, key))
        _append_second_proposal(copy / "wal", seed, chain_id, own.height, own.round_number)
        (found,) = double_proposals(copy, chain_id, keys)
        assert (found.height, found.round_number, found.public_key) == (own.height, own.round_number, key)
        payload = encode_equivocation(found.proof)
        assert judge(payload, key, chain_id) == own.height

        body = SubmitEvidence(
            evidence_kind=EvidenceKind.PROPOSAL_EQUIVOCATION,
            validator=Address((CULPRIT + 1).to_bytes(20, "big")),
            payload=payload,
        )
        raw = sign_action(nodes[1].parameters.network_id, 0, TOKEN, body, REPORTER.private_key)
        (admitted,) = nodes[1].actions.admit([raw], nodes[1].clock.now_ms())
        assert not isinstance(admitted, Exception), admitted
        await until(lambda: punished(nodes))
        for node in nodes:
            assert culprit_of(node).tokens == STAKE * 95 // 100
            reporter = node.economy.accounts.get(REPORTER.address)
            assert reporter is not None
            slashed = STAKE * 5 // 100
            assert reporter.balance == 10 * TOKEN - node.economy.parameters.action_fee + slashed * 5 // 100


def judge_self(sign_bytes: bytes, signature: bytes, key: bytes) -> bool:
    from plait.native import ed25519_verify

    return ed25519_verify(key, sign_bytes, signature)


def _append_second_proposal(wal: Path, seed: bytes, chain_id: str, height: int, round_number: int) -> None:
    """What another node's log holds when a proposer sent it another proposal than to the rest."""
    block_id, time_ns = BlockId(hash=b"\x33" * 32, parts_total=1, parts_hash=b"\x44" * 32), 1_800_000_000_000_000_000
    signed = proposal_sign_bytes(
        chain_id, height=height, round_=round_number, pol_round=-1, block_id=block_id, time_ns=time_ns
    )
    proposal = (
        uint_field(1, 32)
        + uint_field(2, height)
        + uint_field(3, round_number)
        + uint_field(4, -1)
        + message_field(5, block_id.encode())
        + message_field(6, timestamp(time_ns))
        + bytes_field(7, ed25519_sign(seed, signed))
    )
    info = message_field(1, message_field(3, message_field(1, proposal))) + bytes_field(2, b"peer")
    record = message_field(1, timestamp(time_ns)) + message_field(2, message_field(2, info))
    with wal.open("ab") as file:
        file.write(bytes(4) + len(record).to_bytes(4, "big") + record)


def _vote(block_id: BlockId, time: str, address: bytes, place: int, signature: bytes) -> dict[str, object]:
    return {
        "type": PRECOMMIT,
        "height": "2",
        "round": 0,
        "block_id": {
            "hash": block_id.hash.hex().upper(),
            "parts": {"total": block_id.parts_total, "hash": block_id.parts_hash.hex().upper()},
        },
        "timestamp": time,
        "validator_address": address.hex().upper(),
        "validator_index": place,
        "signature": base64.b64encode(signature).decode(),
        "extension": None,
        "extension_signature": None,
    }


def _nanoseconds(text: str) -> int:
    """Of an RFC 3339 time with up to nine decimals."""
    from datetime import UTC, datetime

    whole, _, decimals = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int(decimals.ljust(9, "0") or 0)
