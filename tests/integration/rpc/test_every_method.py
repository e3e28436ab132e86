"""Every method of the server is called by a test, and those that clients use without looking mean what they say."""

import re
from pathlib import Path
from typing import Any

from plait.rpc.openrpc import example_calls
from plait.rpc.table import METHODS

ROOT = Path(__file__).resolve().parents[3]
THROUGH_THE_CLIENT = {"plait_cancelBundle": r"client\.cancel\("}
"""Called by tests through plait.client only."""


def test_every_method_is_called_by_its_example_or_by_a_test_that_names_it() -> None:
    paths = [path for part in ("tests", "sim") for path in (ROOT / part).rglob("*.py") if path != Path(__file__)]
    sources = "".join(path.read_text() for path in paths)
    called = {call["method"] for call in example_calls()}
    named = {name for name in METHODS if re.search(rf"[\"']{name}[\"']", sources)}
    left = METHODS.keys() - called - named
    assert left == THROUGH_THE_CLIENT.keys()
    assert all(re.search(pattern, sources) for pattern in THROUGH_THE_CLIENT.values())


def test_suggested_prices_are_enough_for_the_open_block(node: Any) -> None:
    tip = int(node.call("eth_maxPriorityFeePerGas"), 16)
    price = int(node.call("eth_gasPrice"), 16)
    base_fee = int(node.call("eth_getBlockByNumber", "pending", False)["baseFeePerGas"], 16)
    assert tip > 0
    assert abs(price - base_fee - tip) <= base_fee // 8, (
        "the base fee of the open block, or of its neighbour, and the tip"
    )
    receipt = node.call(
        "eth_sendRawTransactionSync", node.signed(6, max_fee_per_gas=price, max_priority_fee_per_gas=tip)
    )
    assert receipt["status"] == "0x1"


def test_a_transactions_bytes_are_the_same_by_every_way_to_them(node: Any) -> None:
    raw = node.signed(7)
    receipt = node.call("eth_sendRawTransactionSync", raw)
    block, index = receipt["blockHash"], receipt["transactionIndex"]
    number = receipt["blockNumber"]
    hash_ = receipt["transactionHash"]
    assert {
        node.call("eth_getRawTransactionByHash", hash_),
        node.call("debug_getRawTransaction", hash_),
        node.call("eth_getRawTransactionByBlockHashAndIndex", block, index),
        node.call("eth_getRawTransactionByBlockNumberAndIndex", number, index),
    } == {raw}
    assert node.call("debug_getRawTransaction", "0x" + "00" * 32) == "0x"
    header = node.call("eth_getHeaderByHash", block)
    assert header == node.call("eth_getHeaderByNumber", number)
    whole = node.call("eth_getBlockByHash", block, False)
    assert {name: whole[name] for name in header.keys() & whole.keys()} == header
    assert node.call("eth_getUncleCountByBlockHash", block) == "0x0"
    assert node.call("eth_getUncleCountByBlockNumber", number) == "0x0"
    assert node.call("eth_getUncleByBlockHashAndIndex", block, "0x0") is None


def test_the_modules_are_the_namespaces_that_the_endpoint_answers(node: Any) -> None:
    assert node.call("rpc_modules").keys() == {name.split("_", 1)[0] for name in METHODS}
    for rollup in (901, None):
        for name in node.call("rpc_modules", rollup=rollup):
            assert any(method.startswith(f"{name}_") for method in METHODS)


def test_pool_statistics_follow_the_pool(node: Any) -> None:
    before = node.call("plait_poolStatistics", rollup=None)
    node.signed(5)  # left out: the next one waits behind its nonce
    node.call("eth_sendRawTransaction", node.signed(5))
    after = node.call("plait_poolStatistics", rollup=None)
    assert after != before
    assert int(node.call("txpool_status")["queued"], 16) >= 1
