"""What a vote can and cannot stop, on a real node: a pause holds back transactions and nothing else; an upgrade stops a
program that does not have it; a rollup that joined takes transactions like the others."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plait.cli.rollup import registration
from plait.client import Client
from plait.client.ledger import act
from plait.errors import InvariantBroken, PlaitError
from plait.native import ed25519_public_key
from plait.node.config import AccountConfig, NetworkConfig, NodeConfig, RollupConfig, ValidatorConfig
from plait.node.node import Node
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rpc import RpcConfig, serve
from plait.types import Address
from plait.types.action import Body, ProposePause, ProposeUpgrade, Transfer, Vote, VoteOption
from sim.listening import WALLETS, Running, running

KEY = DEVELOPMENT_ACCOUNTS[0].private_key
OPERATOR = DEVELOPMENT_ACCOUNTS[0].address
DEPOSIT = 100 * 10**18
QUIET = RpcConfig(port=0, rollup_port_base=None)


def network(**ledger: int) -> NetworkConfig:
    address = "0x" + OPERATOR.hex()
    return NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=10,
        rollups=(RollupConfig(chain_id=901),),
        accounts=(AccountConfig(address=address, balance=10**6 * 10**18),),
        validators=(
            ValidatorConfig(
                operator=address,
                public_key="0x" + ed25519_public_key(bytes(31) + b"\x01").hex(),
                stake=1_000 * 10**18,
                name="alice",
            ),
        ),
        ledger=ledger,
    )


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    yield from running(QUIET, network(rollup_join_notice_slots=2))


def acted(node: Running, body: Body) -> int:
    async def work() -> int:
        async with Client(node.server.url) as client:
            done = await act(client, KEY, body)
            assert done.height is not None
            return done.height

    return asyncio.run(work())


def until(found: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_a_pause_holds_back_transactions_and_neither_blocks_nor_deposits_nor_actions(node: Running) -> None:
    acted(node, ProposePause(title="stop", details="", deposit=DEPOSIT, slots=5))
    acted(node, Vote(proposal_id=1, option=VoteOption.YES))
    pause = node.call("plait_getLedgerParameters")["pause"]
    until(lambda: node.call("plait_slot")["slot"] >= pause["sinceSlot"])
    first = node.call("plait_rollups")[0]["head"]["number"]
    hash_ = node.call("eth_sendRawTransaction", node.signed(1))
    acted(node, Transfer(to=Address(bytes(19) + b"\x01"), amount=5))
    until(lambda: node.call("plait_slot")["slot"] >= pause["sinceSlot"] + 2)
    assert node.call("plait_getTransactionStatus", hash_)["status"] == "pending"
    paused_blocks = range(pause["sinceSlot"] + 1, pause["untilSlot"] - 1)
    until(lambda: node.call("plait_rollups")[0]["head"]["number"] >= pause["untilSlot"] - 1)
    assert first < pause["untilSlot"] - 1, "blocks were sealed during the pause"
    for number in paused_blocks:
        block = node.call("eth_getBlockByNumber", hex(number), True)
        assert [transaction["type"] for transaction in block["transactions"]] == ["0x7e"], "deposits only"
    until(lambda: node.call("plait_getTransactionStatus", hash_)["status"] in ("decided", "sealed"))
    receipt = until(lambda: node.call("eth_getTransactionReceipt", hash_))
    assert int(receipt["blockNumber"], 16) >= pause["untilSlot"] - 1


def test_a_rollup_that_joined_is_served_and_takes_transactions(node: Running) -> None:
    options = {
        "rollup_id": 7002,
        "block_time": 1,
        "gas_limit": 30_000_000,
        "policy": "arrival",
        "fork": "jovian",
        "interop_set": 0,
        "min_base_fee": 0,
        "funded": ("0x" + DEVELOPMENT_ACCOUNTS[0].address.hex() + "=5",),
        "fee_recipient": None,
        "escrow": None,
        "start_slot": None,
    }
    ledger = {k: int(v["value"]) for k, v in node.call("plait_getLedgerParameters")["parameters"].items()}
    acted(node, registration(options, OPERATOR, node.call("plait_networkInfo"), ledger))
    until(lambda: any(entry["rollupId"] == 7002 for entry in node.call("plait_rollups")))

    def call(method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        status, text, _ = node.post(json.dumps(body).encode(), path="/7002")
        answer = json.loads(text)
        assert status == 200
        assert "error" not in answer, answer
        return answer["result"]

    assert call("eth_chainId") == hex(7002)
    until(lambda: int(call("eth_blockNumber"), 16) >= 1)
    raw = WALLETS[0].sign_1559(7002, 0, to=b"\x77" * 20, value=7, max_fee_per_gas=10**10)
    hash_ = call("eth_sendRawTransaction", "0x" + raw.hex())
    receipt = until(lambda: call("eth_getTransactionReceipt", hash_))
    assert receipt["status"] == "0x1"
    assert call("eth_getBalance", "0x" + (b"\x77" * 20).hex(), "latest") == "0x7"


async def test_a_program_without_a_decided_upgrade_stops_at_its_height_and_says_what_is_missing() -> None:
    told: list[PlaitError] = []
    plan = network(voting_period_slots=2, timelock_slots=1, upgrade_notice_heights=2)
    with contextlib.suppress(InvariantBroken, PlaitError):
        try:
            settings = NodeConfig(log_level="error")
            async with Node.start(plan, settings) as running_node, serve(running_node, QUIET) as server:
                async with Client(server.url) as client:
                    body = ProposeUpgrade(
                        title="v2", details="", deposit=DEPOSIT, name="v2", height=20, change_hash=bytes([9]) * 32
                    )
                    await act(client, KEY, body)
                    await act(client, KEY, Vote(proposal_id=1, option=VoteOption.YES))
                async with asyncio.timeout(30):
                    await running_node.stopped()
        except PlaitError as error:
            told.append(error)
            raise
    assert [error.code for error in told] == ["upgrade_required"]
    assert "09" * 32 in told[0].message
