"""On a running node the sender of each transaction is recovered once, also when it is sent again or a peer proposes it.

The node runs in this process, so that the core's counters are the node's.
"""

import asyncio
from collections.abc import Iterator

import pytest

from plait.native import Transaction, recovery_statistics
from plait.rpc import RpcConfig
from plait.types import RollupId
from sim.listening import WALLETS, Running, running_with_blocks

TRANSACTIONS = 400
USERS = 8


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    yield from running_with_blocks(RpcConfig(port=0, rollup_port_base=0))


def test_each_transaction_is_recovered_exactly_once(node: Running) -> None:
    raws = {
        rollup_id: [
            WALLETS[user].sign_1559(rollup_id, nonce, to=b"\x0a" * 20, value=7, max_fee_per_gas=10**10)
            for nonce in range(TRANSACTIONS // 2 // USERS)
            for user in range(USERS)
        ]
        for rollup_id in (901, 902)
    }
    before = recovery_statistics()
    for rollup_id, batch in raws.items():
        calls = [
            {"jsonrpc": "2.0", "id": place, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
            for place, raw in enumerate(batch)
        ]
        hashes = [answer["result"] for answer in node.answer(calls, rollup=rollup_id)]
        waiting = node.node.pool.wait(RollupId(rollup_id), bytes.fromhex(hashes[-1][2:]), "sealed")
        status = asyncio.run_coroutine_threadsafe(waiting, node.loop).result(20)
        assert status.status == "sealed"
        for hash_ in hashes:
            assert node.call("eth_getTransactionReceipt", hash_, rollup=rollup_id)["status"] == "0x1"
    after = recovery_statistics()
    assert after["recovered"] - before["recovered"] == TRANSACTIONS
    for rollup_id, batch in raws.items():
        again = node.node.pool.decode(RollupId(rollup_id), batch)
        assert all(isinstance(item, Transaction) for item in again)
    assert recovery_statistics()["recovered"] == after["recovered"]
    assert recovery_statistics()["remembered"] - after["remembered"] >= TRANSACTIONS
