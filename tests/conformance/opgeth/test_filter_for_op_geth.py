"""An unmodified op-geth uses a running Plait node as its interop filter: it admits a transaction that executes a valid
message to its pool, and refuses the same with one bit of the message changed, because Plait says so.

op-geth follows one rollup block by block and asks over JSON-RPC (`--rollup.interoprpc`) for every executing
transaction. Its chain configuration has interop at a far time: it asks whenever the fork is scheduled.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opgeth_node import OpGeth, RpcError, can_build

from plait.interop.access_list import access_of, encode_accesses
from plait.interop.identifiers import LogIndex, MessageChainId, message_of_log
from plait.interop.messages import CROSS_L2_INBOX
from plait.node.config import NetworkConfig, RollupConfig, embedded_genesis
from plait.rpc import RpcConfig
from plait.types import Address, BlockNumber, RollupId, Seconds
from sim.listening import Running, running
from tests.integration.bundles.helpers import ONE, OTHER, calldata, created_by, signed

pytestmark = [pytest.mark.opgeth, pytest.mark.slow]

EMITTER = bytes.fromhex("60006000a000")
"""Creation code that emits one log without topics and data."""
FAR = 2**40


@pytest.fixture
def node() -> Iterator[Running]:
    if not can_build():
        if os.environ.get("CI"):
            pytest.fail("CI must have Go to build op-geth, and has not")
        pytest.skip("op-geth is not in the cache and Go is not installed to build it")
    yield from running(RpcConfig(port=0, rollup_port_base=None))


def genesis_of(node: Running, rollup: int) -> bytes:
    """op-geth's genesis of the rollup, with interop scheduled."""
    network = NetworkConfig(
        genesis_time_s=node.node.parameters.genesis_time_s,
        sub_blocks_per_slot=5,
        rollups=(RollupConfig(chain_id=ONE), RollupConfig(chain_id=OTHER)),
    )
    document = json.loads(embedded_genesis(network)[RollupId(rollup)])
    document["config"] |= {"lagoonTime": FAR}
    return json.dumps(document).encode()


def wait(what: Any, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def head(node: Running, rollup: int) -> dict[str, Any]:
    found: dict[str, Any] = node.call("eth_getBlockByNumber", "latest", False, rollup=rollup)
    return found


def send_log(node: Running) -> tuple[bytes, int, int]:
    """Has a log emitted on the first rollup, in block 2 or later: its origin, block number and timestamp."""
    wait(lambda: int(head(node, ONE)["number"], 16) >= 1)
    raw = signed(0, ONE, 0, to=b"", value=0, data=EMITTER, gas_limit=100_000)
    found = node.call("eth_sendRawTransaction", "0x" + raw.hex())
    receipt = wait(lambda: node.call("eth_getTransactionReceipt", found))
    block = node.call("eth_getBlockByNumber", receipt["blockNumber"], False)
    assert receipt["logs"][0]["address"] == "0x" + created_by(0, 0).hex()
    assert receipt["logs"][0]["logIndex"] == "0x0"
    return created_by(0, 0), int(block["number"], 16), int(block["timestamp"], 16)


def follow(geth: OpGeth, node: Running, until_s: int) -> None:
    """Gives op-geth the rollup's blocks until its head is of this time or later."""
    wait(lambda: int(head(node, OTHER)["timestamp"], 16) >= until_s)
    native = node.node.rollups[RollupId(OTHER)].native
    for number in range(1, native.head.number + 1):
        payload, beacon_root = native.execution_payload_json(number)
        status = geth.insert(payload, beacon_root, 4)
        assert status["status"] == "VALID", status
    geth.adopt(native.head.hash)


def executing(origin: bytes, number: int, timestamp: int, *, nonce: int, flip: int = 0) -> bytes:
    """A transaction on the other rollup that executes the log; `flip` changes what its access list commits to."""
    message = message_of_log(
        Address(origin),
        [],
        bytes(flip),
        block_number=BlockNumber(number),
        log_index=LogIndex(0),
        timestamp=Seconds(timestamp),
        chain_id=MessageChainId(ONE),
    )
    keys = list(encode_accesses([access_of(message)]))
    return signed(1, OTHER, nonce, to=CROSS_L2_INBOX, value=0, data=calldata("noop()"), gas_limit=200_000,
                  access_list=[(CROSS_L2_INBOX, keys)])  # fmt: skip


def asked(node: Running) -> tuple[int, int]:
    """How often this node was asked to check an access list, and how often it refused."""
    counts = {"calls": 0, "errors": 0}
    for line in node.node.metrics.render().decode().splitlines():
        for name in counts:
            if line.startswith(f'plait_rpc_method_{name}_total{{method="supervisor_checkAccessList"}} '):
                counts[name] = int(float(line.split()[-1]))
    return counts["calls"], counts["errors"]


def test_op_geth_admits_what_this_node_finds_valid_and_nothing_else(node: Running, tmp_path: Path) -> None:
    flags = ["--rollup.interoprpc", node.url(None), "--rollup.interopmempoolfiltering"]
    with OpGeth(genesis_of(node, OTHER), tmp_path, flags) as geth:
        origin, number, timestamp = send_log(node)
        follow(geth, node, timestamp)
        calls, errors = asked(node)
        valid, invalid = (executing(origin, number, timestamp, nonce=0, flip=flip) for flip in (0, 1))
        with pytest.raises(RpcError, match="filter"):
            geth.eth.call("eth_sendRawTransaction", "0x" + invalid.hex())
        assert asked(node) == (calls + 1, errors + 1), "op-geth asked, and was refused"
        assert geth.eth.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}
        admitted = geth.eth.call("eth_sendRawTransaction", "0x" + valid.hex())
        assert asked(node) == (calls + 2, errors + 1), "op-geth asked, and was answered null"
        assert geth.eth.call("txpool_status") == {"pending": "0x1", "queued": "0x0"}
        assert geth.eth.call("eth_getTransactionByHash", admitted)["blockNumber"] is None
        plain = signed(1, OTHER, 1)
        geth.eth.call("eth_sendRawTransaction", "0x" + plain.hex())
        assert asked(node) == (calls + 2, errors + 1), "what executes no message needs no answer"
