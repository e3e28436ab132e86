"""Rollups join, change and leave a running node at slot boundaries, and a restart finds all of it again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from plait.crypto.actions import sign_action
from plait.errors import TransactionRefused
from plait.ledger.parameters import TOKEN
from plait.ledger.rollup_records import RollupEntry, RollupGenesis, RollupStatus, rollup_key
from plait.native import Rollup, Store
from plait.node.config import AccountConfig, NetworkConfig, NodeConfig, RollupConfig
from plait.node.joined import source_of
from plait.node.node import Node, open_storage
from plait.node.verify import verify
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Gas, Hash32, OrderingPolicy, RollupId, RollupParameters, Slot, Wei
from plait.types.action import Body, FundedAccount, LeaveRollup, RegisterRollup, UpdateRollup
from sim.listening import WALLETS
from tests.unit.protocol.cadences import rollup

OWNER = WALLETS[3]
NEW = RollupId(950)


def network() -> NetworkConfig:
    return NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=5,
        rollups=(RollupConfig(chain_id=901), RollupConfig(chain_id=902)),
        accounts=(AccountConfig(address="0x" + OWNER.address.hex(), balance=1_000 * TOKEN),),
        ledger={"rollup_join_notice_slots": 2, "rollup_leave_notice_slots": 2, "epoch_heights": 5},
    )


def registration(config: NetworkConfig, start_slot: int) -> RegisterRollup:
    """A rollup like those of the genesis, with one funded account."""
    funded = (FundedAccount(account=OWNER.address, balance=Wei(10**18)),)
    parameters = msgspec.structs.replace(rollup(1, start_slot), rollup_id=NEW, ordering=OrderingPolicy.PRIORITY_FEE)
    genesis = RollupGenesis(fork="jovian", base_fee=Wei(10**9), fee_recipient=OWNER.address, balances=funded)
    entry = RollupEntry(
        rollup_id=NEW,
        owner=OWNER.address,
        status=RollupStatus.PENDING,
        parameters=parameters,
        genesis=genesis,
        terms=None,
        revenue_recipient=OWNER.address,
        escrow=0,
        charged_slot=Slot(start_slot),
    )
    genesis_hash = Rollup.from_genesis(source_of(config).genesis_json(entry), Store.in_memory()).genesis_hash
    shared = {
        name: getattr(parameters, name)
        for name in RegisterRollup.__struct_fields__
        if name in RollupParameters.__struct_fields__ and name not in {"genesis_hash", "ordering"}
    }
    return RegisterRollup(
        **shared,
        ordering=0,
        fork=2,
        base_fee=Wei(10**9),
        fee_recipient=OWNER.address,
        balances=funded,
        genesis_hash=Hash32(genesis_hash),
        revenue_recipient=OWNER.address,
        escrow=200 * TOKEN,
        fee_per_slot_max=TOKEN,
        fee_per_transaction_max=TOKEN,
    )


def act(node: Node, body: Body) -> bytes:
    """Hands an action of the owner to the node; its hash."""
    raw = sign_action(
        node.parameters.network_id,
        node.actions.next_nonce(OWNER.address),
        TOKEN,
        body,
        DEVELOPMENT_ACCOUNTS[3].private_key,
    )
    (found,) = node.actions.admit([raw], node.clock.now_ms())
    assert not isinstance(found, Exception), found
    return found.hash


async def until(holds: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


async def played(path: Path, config: NetworkConfig | None, play: Callable[[Node], Awaitable[Any]]) -> Any:
    settings = NodeConfig(data_dir=path, port=0, rollup_port_base=None, log_level="error")
    async with Node.start(config, settings) as node:
        return await play(node)


def transfer(node: Node, nonce: int) -> bytes:
    raw = OWNER.sign_1559(NEW, nonce, to=bytes([7]) * 20, value=5, max_fee_per_gas=10**10)
    (admitted,) = node.pool.submit(NEW, [raw], node.clock.now_ms())
    assert not isinstance(admitted, TransactionRefused), admitted
    return admitted.hash


async def test_a_rollup_joins_changes_and_leaves_and_every_restart_goes_on(tmp_path: Path) -> None:
    config = network()

    async def joins(node: Node) -> None:
        start = node.info().slot + 6
        waiting = act(node, registration(config, start))
        await until(lambda: (s := node.actions.status(waiting)) is not None and s.status == "decided", "registered")
        assert NEW not in node.rollups, "it joins at its slot, not before"

    await played(tmp_path, config, joins)

    async def is_used_and_changed(node: Node) -> None:
        await until(lambda: NEW in node.rollups and node.rollups[NEW].native.open_block is not None, "joined")
        first = transfer(node, 0)
        status = await asyncio.wait_for(node.pool.wait(NEW, first, "sealed"), 10)
        assert status.status == "sealed"
        before = node.rollups[NEW].parameters
        values = {name: getattr(before, name) for name in UpdateRollup.__struct_fields__ if hasattr(before, name)}
        body = UpdateRollup(
            **(values | {"ordering": 1, "gas_limit": Gas(40_000_000)}),
            at_slot=Slot(node.info().slot + 2),
            revenue_recipient=OWNER.address,
        )
        act(node, body)
        await until(lambda: node.rollups[NEW].parameters.gas_limit == 40_000_000, "updated")
        assert node.rollups[NEW].parameters.ordering is OrderingPolicy.ARRIVAL
        assert node.rollups[NEW].native.open_block.gas_limit == 40_000_000
        second = transfer(node, 1)
        assert (await asyncio.wait_for(node.pool.wait(NEW, second, "sealed"), 10)).status == "sealed"

    await played(tmp_path, None, is_used_and_changed)

    async def leaves(node: Node) -> tuple[int, bytes]:
        assert node.rollups[NEW].parameters.gas_limit == 40_000_000, "the change outlives a restart"
        native = node.rollups[NEW].native
        act(node, LeaveRollup(rollup_id=NEW, at_slot=Slot(node.info().slot + 3)))
        await until(lambda: not node.rollups[NEW].is_active, "left")
        ledger = node._application.ledger
        departed = ledger.economy.departed.get(rollup_key(NEW))
        assert departed is not None
        assert (departed.head_number, departed.head_hash) == (native.head.number, native.head.hash)
        assert native.open_block is None, "its last block is sealed"
        start = config.genesis_time_s + msgspec.structs.asdict(node.rollups[NEW].parameters)["start_slot"]
        last = node.rollups[NEW].parameters.last_slot(departed.head_number)
        assert last + 1 == departed.left_slot, "no slot of it is left uncovered"
        assert native.head.timestamp == start + departed.head_number
        (refused,) = [submit_refusal(node)]
        assert refused == "rollup_left"
        height = node.info().height
        await until(lambda: node.info().height > height + 2, "the others go on")
        return departed.head_number, bytes(departed.head_hash)

    def submit_refusal(node: Node) -> str:
        try:
            node.pool.submit(NEW, [OWNER.sign_1559(NEW, 2, to=bytes(20), value=1)], node.clock.now_ms())
        except TransactionRefused as refused:
            return refused.code
        return "taken"

    head = await played(tmp_path, None, leaves)

    async def is_gone(node: Node) -> None:
        assert NEW not in node.rollups
        departed = node._application.ledger.economy.departed.get(rollup_key(NEW))
        assert departed is not None
        assert (departed.head_number, departed.head_hash) == head
        height = node.info().height
        await until(lambda: node.info().height > height, "the others go on")

    await played(tmp_path, None, is_gone)
    stored = open_storage(None, NodeConfig(data_dir=tmp_path))
    try:
        found = await asyncio.to_thread(verify, stored)
    finally:
        stored.log.close()
    assert found.difference is None, found


async def test_a_registration_with_another_genesis_is_left_out(tmp_path: Path) -> None:
    config = network()

    async def play(node: Node) -> None:
        wrong = msgspec.structs.replace(registration(config, node.info().slot + 5), genesis_hash=Hash32(bytes(32)))
        hash_ = act(node, wrong)
        await until(lambda: (s := node.actions.status(hash_)) is not None and s.status == "dropped", "dropped")
        status = node.actions.status(hash_)
        assert status is not None
        assert status.code == "rollup_genesis_wrong"
        assert node._application.ledger.economy.rollups.get(rollup_key(NEW)) is None
        assert node.actions.next_nonce(OWNER.address) == 0, "nothing of it remains"

    await played(tmp_path, config, play)
