"""A validator of a real network that signed two proposals for one round is found in another node's consensus log,
reported, and slashed on every node."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from comet_network import STAKE, make_network, require_cometbft
from comet_nodes import network

from plait.crypto.actions import sign_action
from plait.engines.cometbft.wal import double_proposals, proposals
from plait.ledger.equivocation import encode_equivocation, judge
from plait.ledger.parameters import TOKEN
from plait.ledger.slashing import EvidenceKind
from plait.ledger.stake_records import Validator
from plait.light.commits import proposal_sign_bytes
from plait.light.headers import BlockId
from plait.light.protobuf import bytes_field, message_field, timestamp, uint_field
from plait.native import ed25519_sign, ed25519_verify
from plait.node.config import AccountConfig, NetworkConfig, NodeConfig
from plait.node.home import consensus_seed
from plait.node.node import Node
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address
from plait.types.action import SubmitEvidence

pytestmark = [pytest.mark.cometbft, pytest.mark.timeout(420)]

REPORTER = DEVELOPMENT_ACCOUNTS[5]
CULPRIT = 3
"""Index of the validator that misbehaves; three of four go on without it."""


def funded(config: NetworkConfig) -> NetworkConfig:
    account = AccountConfig(address="0x" + REPORTER.address.hex(), balance=10 * TOKEN)
    return msgspec.structs.replace(config, accounts=(account,))


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


async def test_two_proposals_for_one_round_are_found_in_a_consensus_log_and_slashed(tmp_path: Path) -> None:
    require_cometbft()
    configs = make_network(tmp_path, 4, change=funded)
    seed = consensus_seed(home_of(configs[CULPRIT]))
    async with network(configs) as nodes:
        await until(lambda: nodes[0].info().height >= 10)
        chain_id, key = "plait-7901", culprit_of(nodes[0]).public_key
        log = home_of(configs[0]) / "cometbft" / "data" / "cs.wal"
        keys = [validator.public_key for _, validator in nodes[0].economy.validators.items()]
        logged = list(proposals(log, chain_id))
        assert len({one.height for one in logged}) >= 9, "every height has a proposal in the log"
        assert double_proposals(log, chain_id, keys) == [], "nobody signed twice so far"

        copy = tmp_path / "copy"
        shutil.copytree(log, copy)
        own = next(one for one in logged if ed25519_verify(key, one.sign_bytes, one.signature))
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
