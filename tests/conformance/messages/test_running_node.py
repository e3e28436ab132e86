"""A running node: users send messages over JSON-RPC, the node relays them and their answers in the slot, and the
independent checker judges every message of all blocks as the node answers them. The node's interop filter and the
checker agree on single declarations, true and changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from eth_abi import encode
from eth_hash.auto import keccak

from plait.rpc import RpcConfig
from sim.listening import Running, running_with_blocks
from tests.conformance.messages.checker import INBOX, MESSENGER, RELAYED, Chain, Claim, declared_by, judge
from tests.conformance.messages.histories import keys_of, spoiled_claim
from tests.conformance.messages.reading import Block, Transaction, read_json

ROLLUPS = (901, 902)
ETH_BRIDGE = bytes.fromhex("4200000000000000000000000000000000000024")
MULTICALL = bytes.fromhex("cA11bde05977b3631167028862bE2a173976CA11")
RECIPIENT = bytes([0x5C]) * 20
SENDS = 8


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    yield from running_with_blocks(RpcConfig(port=0, rollup_port_base=0))


def call(signature: str, *values: object) -> bytes:
    types = signature[signature.index("(") + 1 : -1].split(",")
    return bytes(keccak(signature.encode())[:4]) + encode(types, values)


def send(node: Running, user: int, source: int, destination: int) -> None:
    """Ether over the bridge, and a message whose delivery sends an answer."""
    back = call("sendMessage(uint256,address,bytes)", source, RECIPIENT, b"answer")
    answer = bytes(keccak(b"aggregate3((address,bool,bytes)[])")[:4])
    answer += encode(["(address,bool,bytes)[]"], [[(MESSENGER, False, back)]])
    ether = call("sendETH(address,uint256)", RECIPIENT, destination)
    message = call("sendMessage(uint256,address,bytes)", destination, MULTICALL, answer)
    for to, value, data in ((ETH_BRIDGE, 7, ether), (MESSENGER, 0, message)):
        raw = node.signed(user, rollup=source, to=to, value=value, data=data, gas_limit=400_000)
        node.call("eth_sendRawTransaction", raw, rollup=source)


def blocks_of(node: Running) -> list[Block]:
    """All sealed blocks of both rollups up to one time, as the node answers them."""
    found: list[Block] = []
    for rollup in ROLLUPS:
        head = int(node.call("eth_blockNumber", rollup=rollup), 16)
        for number in range(1, head + 1):
            block = node.call("eth_getBlockByNumber", hex(number), True, rollup=rollup)
            receipts = node.call("eth_getBlockReceipts", hex(number), rollup=rollup)
            found.append(read_json(rollup, block, receipts))
    newest = min(max(block.timestamp for block in found if block.chain_id == rollup) for rollup in ROLLUPS)
    return [block for block in found if block.timestamp <= newest]


def chains(node: Running) -> list[Chain]:
    genesis = int(node.call("eth_getBlockByNumber", "0x0", False)["timestamp"], 16)
    return [Chain(rollup, genesis, 1) for rollup in ROLLUPS]


@pytest.fixture(scope="module")
def history(node: Running) -> list[Block]:
    """Blocks after messages to and fro, all delivered."""
    time.sleep(3)  # no message of the first block may be executed
    for user in range(SENDS):
        send(node, user, *(ROLLUPS if user % 2 else ROLLUPS[::-1]))
        time.sleep(0.2)
    expected = 3 * SENDS  # the ether, the message, its answer
    deadline = time.monotonic() + 30
    while True:
        blocks = blocks_of(node)
        delivered = sum(1 for block in blocks for log in block.logs if log.topics[:1] == (RELAYED,))
        if delivered >= expected:
            return blocks
        assert time.monotonic() < deadline, f"{delivered} of {expected} messages were delivered in 30 s"
        time.sleep(0.5)


def test_every_message_of_a_running_node_is_valid(node: Running, history: list[Block]) -> None:
    """The checker accepts all, and they were executed at the very timestamp at which they were sent."""
    assert judge(chains(node), history) == []
    ages = [
        block.timestamp - claim.timestamp
        for block in history
        for transaction in block.transactions
        for claim in declared_by(transaction.access_list)
    ]
    assert ages.count(0) >= 3 * SENDS - 4, f"messages were {ages} s old when they were executed"


def test_the_nodes_filter_and_the_checker_agree(node: Running, history: list[Block]) -> None:
    """interop_checkAccessList for declarations of sealed logs, true and with one field changed."""
    random = Random(1)
    claims = [
        claim
        for block in history
        for transaction in block.transactions
        for claim in declared_by(transaction.access_list)
    ]
    refused = accepted = 0
    for claim in random.sample(claims, 12):
        for asked in (claim, *(spoiled_claim(random, claim) for _ in range(4))):
            executing = random.choice(ROLLUPS)
            timestamp = max(block.timestamp for block in history) + 1
            ours = _judged(node, history, executing, timestamp, asked)
            answer = _ask(node, executing, timestamp, asked)
            assert ("error" in answer) == bool(ours), f"{asked}: the checker {ours}, the node {answer}"
            refused += bool(ours)
            accepted += not ours
    assert min(refused, accepted) >= 10


def _ask(node: Running, executing: int, timestamp: int, claim: Claim) -> dict[str, Any]:
    keys = ["0x" + key.hex() for key in keys_of(claim)]
    descriptor = {"chainID": hex(executing), "timestamp": hex(timestamp), "timeout": "0x0"}
    body = {
        "jsonrpc": "2.0", "id": 1, "method": "interop_checkAccessList", "params": [keys, "unsafe", descriptor],
    }  # fmt: skip
    answer: dict[str, Any] = node.answer(body, rollup=None)
    return answer


def _judged(node: Running, history: list[Block], executing: int, timestamp: int, claim: Claim) -> set[str]:
    """Rules broken by a block of this time that declares the claim."""
    block = Block(executing, 10**6, timestamp, (Transaction(((INBOX, tuple(keys_of(claim))),), ()),))
    return {rule for item in judge(chains(node), [*history, block]) for rule in item.broken}
