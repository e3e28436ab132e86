"""A forced request goes the whole way: this L1's block, four validators' agreement, an executed block, a sealed
sub-block, a checkpoint, and the proof of all that back on L1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import rlp
from contracts_l1 import L1
from forced_world import BOND, CHALLENGE_S, INCLUDED, WINDOW_S, deposits_of
from validators import DAY, Member, Registry, address_of, key_of, raw

from plait.crypto.merkle import inclusion_proof
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.rollup_config import OpStackConfig
from plait.l1.attestations import AttestedValidator, in_order
from plait.l1.client import L1Client
from plait.l1.contract_proofs import SubBlockProof, as_abi, deposit_proof, ledger_shape, place_of
from plait.l1.facts import block_facts
from plait.l1.fees import blob_schedule
from plait.l1.receipts import logs_of
from plait.ledger.encoding import encode_record, ledger_leaves
from plait.native import ed25519_public_key
from plait.protocol.proposal import decode_proposal, encode_header
from plait.types import BlockNumber, Height, RollupId
from sim import l1_world
from sim.l1 import MadeL1
from sim.world import GENESIS_TIME_S

pytestmark = pytest.mark.node_js

ROLLUP = RollupId(901)
VALIDATORS = 4


class AnvilL1(MadeL1):
    """The L1 of a simulated network, whose blocks are a real one's."""

    def __init__(self, l1: L1) -> None:
        self._l1 = l1
        self._bindings: tuple[OpStackConfig, ...] = ()
        self.blocks = []
        self.follow()

    def bind(self, bindings: tuple[OpStackConfig, ...]) -> None:
        """Says whose deposits blocks are searched for from now on."""
        self._bindings = bindings

    def block(self, number: int) -> L1BlockFacts:
        return self.blocks[number - self.blocks[0].number]

    def follow(self) -> None:
        """Reads the blocks that are new."""
        first = self.blocks[-1].number + 1 if self.blocks else self._l1.web3.eth.block_number
        self.blocks += asyncio.run(self._facts(first, self._l1.web3.eth.block_number))

    async def _facts(self, first: int, last: int) -> list[L1BlockFacts]:
        found = []
        async with L1Client(self._l1.url) as client:
            for number in range(first, last + 1):
                header = await client.header(BlockNumber(number))
                assert header is not None
                logs = logs_of(await client.receipts(header))
                facts, malformed = block_facts(header, logs, self._bindings, blob_schedule(self._l1.web3.eth.chain_id))
                assert not malformed
                found.append(facts)
        return found


@pytest.fixture
def early(tmp_path: Path) -> Iterator[L1]:
    """An L1 whose clock stands two days before the genesis of the simulated network."""
    found = L1(tmp_path, "--timestamp", str(GENESIS_TIME_S - 2 * DAY))
    yield found
    found.stop()


def test_a_forced_request_is_proven_from_what_the_network_decided(early: L1, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing between the wallet's call on L1 and the proof on L1 is made up but the way messages travel."""
    keys = [ed25519_public_key(sha256(f"plait/sim/reporter/{place}".encode()).digest()) for place in range(VALIDATORS)]
    attesting = {
        AttestedValidator(address_of(key_of(place)), keys[place], 10): key_of(place) for place in range(VALIDATORS)
    }
    registry = Registry(early, network=1, some=[Member(one, attesting[one]) for one in in_order(attesting)])
    portal = early.deploy("DepositPortal")
    early.send(registry.by_timelock("setRollup", ROLLUP, (early.accounts[6], portal.address, early.accounts[7])))
    desk = early.deploy("ForcedInclusion", registry.contract.address, WINDOW_S, CHALLENGE_S, BOND)
    early.rpc("evm_setNextBlockTimestamp", int(GENESIS_TIME_S))
    early.rpc("evm_mine")
    followed = AnvilL1(early)
    monkeypatch.setattr(l1_world, "MadeL1", lambda *_: followed)
    world = l1_world.L1World(rollups=1, validators=VALIDATORS)
    assert world.parameters.network_id == registry.network_id
    followed.bind(
        tuple(msgspec.structs.replace(one, deposit_contract=raw(portal.address)) for one in world.state.bindings)
    )

    call = desk.functions.force(ROLLUP, early.accounts[3], 7, 60_000, False, b"")
    receipt = early.send(call, sender=1, value=9)
    followed.follow()
    ((deposit, log_index),) = deposits_of(receipt)
    transfer = world.wallets[0].sign_1559(ROLLUP, 0, to=b"\x77" * 20, value=1, max_priority_fee_per_gas=1)
    world.report()
    world.step(transactions={ROLLUP: [[transfer]]})
    while world.head(ROLLUP)[0] < followed.head.timestamp - GENESIS_TIME_S + 2:
        world.step()

    headers = [encode_header(decode_proposal(one.proposal).header) for one in world.decided]
    last = world.decided[-1]
    early.send(registry.checkpoint(last.height, last.app_hash))

    def back_to(height: int) -> SubBlockProof:
        return SubBlockProof(last.height, tuple(headers[at - 1] for at in range(last.height, height - 1, -1)))

    rollup = world.nodes[0].rollups[ROLLUP]
    proven = 0
    for effect in world.decided:
        header = decode_proposal(effect.proposal).header
        for number, block_hash in dict(header.sealed).get(ROLLUP, ()):
            found = registry.functions.verifySealedBlock(as_abi(back_to(effect.height)), ROLLUP, number).call()
            assert found == [block_hash, effect.time_ms]
            parts = rlp.decode(rollup.raw_block(number))
            transactions = [bytes(one) for one in parts[1]]
            if deposit not in transactions:
                continue
            proof = deposit_proof(
                back_to(effect.height),
                block_header=rlp.encode(parts[0]),
                transactions=transactions,
                index=transactions.index(deposit),
                log_index=log_index,
            )
            early.send(desk.functions.prove(1, as_abi(proof)))
            proven += 1
    assert proven == 1
    assert desk.functions.requestAt(1).call()[2] == INCLUDED

    items = dict(decode_proposal(world.decided[0].proposal).blocks)[ROLLUP]
    assert any(transfer in item for item in items)
    for index, item in enumerate(items):
        place = (index, len(items), inclusion_proof(items, index))
        assert registry.functions.verifyItem(as_abi(back_to(1)), ROLLUP, item, place).call()
    leaves = ledger_leaves(world.nodes[0].ledger)
    record = encode_record(world.nodes[0].ledger.rollups[0])
    where = as_abi(back_to(last.height))
    assert registry.functions.verifyLedgerLeaf(where, record, as_abi(place_of(leaves, leaves.index(record)))).call()
    assert msgspec.structs.astuple(ledger_shape(world.nodes[0].ledger)) == tuple(
        registry.functions.ledgerShapeOf().call()
    )
    assert Height(1) == world.decided[0].height
