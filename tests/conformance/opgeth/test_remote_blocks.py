"""Blocks built here on state that only an unmodified op-geth holds are valid for it, with equal hashes.

Everything is read from op-geth by proofs over JSON-RPC; op-geth then executes the payload itself. The chain has some
hundred accounts, and a contract with some hundred slots that are written and deleted at random.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from eth_utils import keccak
from opgeth_node import OpGeth, can_build

from plait.native import NativeError, Rollup, Store, Transaction
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_json
from plait.rollups.opstack.remote_state import RemoteStateRefused, RpcStateReader, read_ahead, remote_rollup
from plait.types import Address, ChainId, Hash32, Seconds, Wei
from tests.unit.native.builders import ALICE, CHAIN_ID, ETHER, GENESIS_TIME, address, attributes, decode, sign, transfer
from tests.unit.native.test_remote_state import HASHES, SLOTS, held, keep

pytestmark = [pytest.mark.opgeth, pytest.mark.slow]

BLOCKS = 14


def chain() -> bytes:
    """A Jovian genesis of ours with the contracts and the some hundred accounts of the core's own test."""
    balances = {Address(address(ALICE)): Wei(1000 * ETHER)}
    specification = GenesisSpecification(
        chain_id=ChainId(CHAIN_ID), timestamp=Seconds(GENESIS_TIME), fork="jovian", balances=balances
    )
    genesis = json.loads(genesis_json(specification))
    names = {name.lower().removeprefix("0x") for name in genesis["alloc"]}
    added = json.loads(held())["alloc"]
    genesis["alloc"] |= {name: added[name] for name in added if name.lower().removeprefix("0x") not in names}
    return json.dumps(genesis).encode()


@pytest.fixture(autouse=True)
def _needs_op_geth() -> None:
    if not can_build():
        if os.environ.get("CI"):
            pytest.fail("CI must have Go to build op-geth, and has not")
        pytest.skip("op-geth is not in the cache and Go is not installed to build it")


def reader_of(op_geth: OpGeth) -> RpcStateReader:
    return RpcStateReader(f"http://127.0.0.1:{op_geth.eth._connection.port}")


def batch_of(draw: random.Random, number: int, nonce: int) -> list[Transaction]:
    """Writes and deletions of slots, payments to new and old accounts, creations, hashes of older blocks."""
    transactions: list[Transaction] = []
    for at in range(nonce, nonce + draw.randint(1, 30)):
        kind = draw.randint(0, 9)
        if kind < 6:
            transactions.append(keep(at, draw.randrange(SLOTS + 20), draw.choice([0, 0, 0, draw.randint(1, 9)])))
        elif kind < 8:
            transactions.append(transfer(ALICE, at, keccak(draw.randbytes(2))[:20], draw.randint(0, 3)))
        elif kind < 9:
            raw = sign(ALICE, at, None, data=bytes.fromhex("602a60005260206000f3"), gas=100_000)
            transactions += decode(raw)
        else:
            data = max(0, number - draw.randint(1, 9)).to_bytes(32, "big")
            transactions += decode(sign(ALICE, at, HASHES, data=data, gas=100_000))
    return transactions


def accept(op_geth: OpGeth, rollup: Rollup, number: int) -> None:
    """op-geth executes the block by itself and takes it as its head."""
    status = op_geth.insert(*rollup.execution_payload_json(number))
    assert status["status"] == "VALID", status
    op_geth.adopt(rollup.head.hash)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_blocks_on_remote_state_are_valid_for_the_node_that_holds_it(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    with OpGeth(chain(), tmp_path) as op_geth:
        reader = reader_of(op_geth)
        rollup = remote_rollup(chain(), Store.in_memory(), reader)
        nonce = 0
        for number in range(1, BLOCKS + 1):
            if draw.random() < 0.3:
                # On the node's newest block, as whoever does not build every block starts.
                rollup = remote_rollup(chain(), Store.in_memory(), reader, Hash32(rollup.head.hash))
            batch = batch_of(draw, number, nonce)
            session = rollup.session()
            session.open(attributes(number))
            if draw.random() < 0.5 and rollup.statistics()["version"] == 0:
                read_ahead(session, reader, batch, Hash32(session.head_hash))
            assert session.run(batch).included == len(batch), f"seed {seed}, block {number}"
            session.seal()
            rollup.commit(session)
            accept(op_geth, rollup, number)
            nonce += len(batch)
        reader.close()


def test_reading_ahead_saves_the_round_trips_of_a_bundle(tmp_path: Path) -> None:
    with OpGeth(chain(), tmp_path) as op_geth:
        reader = reader_of(op_geth)
        bundle = [keep(nonce, nonce * 3, 7) for nonce in range(20)]
        session = remote_rollup(chain(), Store.in_memory(), reader).session()
        session.open(attributes(1))
        before = reader.requests
        read_ahead(session, reader, bundle, Hash32(session.head_hash))
        ahead = reader.requests - before
        assert session.run(bundle).included == 20
        assert reader.requests - before == ahead <= 4, "nothing is left to read"
        assert session.accounts([address(ALICE)])[0][0] == 20
        reader.close()


def test_a_node_that_is_gone_or_lacks_the_block_is_named_and_nothing_is_half_done(tmp_path: Path) -> None:
    with OpGeth(chain(), tmp_path) as op_geth:
        reader = reader_of(op_geth)
        with pytest.raises(RemoteStateRefused, match="eth_getBlockByHash"):
            remote_rollup(chain(), Store.in_memory(), reader, Hash32(bytes(32)))
        session = remote_rollup(chain(), Store.in_memory(), reader).session()
        session.open(attributes(1))
    with pytest.raises(NativeError) as caught:
        session.run([keep(0, 1, 1)])
    assert caught.value.code == "remote_unavailable"
    assert session.open_block is not None
    assert session.open_block.transaction_count == 1
