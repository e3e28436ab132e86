"""A transaction's way through the server: sent, pending, decided, sealed, proven; by HTTP and WebSocket, alone and in
batches."""

import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from plait.crypto.merkle import verify_inclusion
from plait.protocol.proposal import app_hash_of, decode_header, header_hash_of
from plait.rpc.openrpc import document, example_calls
from plait.rpc.table import METHODS


def wait_for(read: Any, *, seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = read()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def test_a_transaction_is_received_decided_sealed_and_proven(node: Any) -> None:
    raw = node.signed()
    hash_ = node.call("eth_sendRawTransaction", raw)
    shown = node.call("eth_getTransactionByHash", hash_)
    assert shown["hash"] == hash_
    assert node.call("eth_getRawTransactionByHash", hash_) == raw
    levels = []

    def level() -> bool:
        status = node.call("plait_getTransactionStatus", hash_)
        levels.append(status["level"])
        return status["level"] == "sealed"

    wait_for(level)
    assert sorted(set(levels), key=["received", "decided", "sealed"].index) == list(dict.fromkeys(levels))
    status = node.call("plait_getTransactionStatus", hash_, rollup=None)
    receipt = node.call("eth_getTransactionReceipt", hash_)
    assert (status["blockHash"], status["succeeded"], status["rollupId"]) == (receipt["blockHash"], True, 901)
    assert receipt["status"] == "0x1"

    proof = node.call("plait_getInclusionProof", 901, hash_, rollup=None)
    unhex = lambda text: bytes.fromhex(text[2:])  # noqa: E731
    item = unhex(proof["item"])
    assert item[7:] == unhex(raw)
    path = [unhex(node_) for node_ in proof["itemsProof"]]
    assert verify_inclusion(item, proof["itemIndex"], proof["itemCount"], path, unhex(proof["itemsRoot"]))
    leaf = (901).to_bytes(8, "big") + unhex(proof["itemsRoot"])
    path = [unhex(node_) for node_ in proof["rollupsProof"]]
    assert verify_inclusion(leaf, proof["rollupIndex"], proof["rollupCount"], path, unhex(proof["rollupsRoot"]))
    header = decode_header(unhex(proof["header"]))
    assert header.commitment.rollups_root == unhex(proof["rollupsRoot"])
    hashed = header_hash_of(unhex(proof["header"]))
    assert hashed == hashlib.sha256(unhex(proof["header"])).digest()
    assert app_hash_of(header.height, hashed, header.ledger_root) == unhex(proof["appHash"])
    sub_block = node.call("plait_getSubBlock", proof["height"], rollup=None)
    assert hash_ in sub_block["rollups"][0]["transactions"]


def test_send_sync_answers_with_the_receipt_and_says_when_it_takes_too_long(node: Any) -> None:
    receipt = node.call("eth_sendRawTransactionSync", node.signed(1), 10_000)
    assert receipt["status"] == "0x1"
    skipped = node.signed(1)
    gapped = node.signed(1)
    error = node.error("eth_sendRawTransactionSync", gapped, 100)
    assert error["code"] == 4
    assert error["message"].startswith(
        "The transaction was added to the transaction pool but wasn't processed in 100 ms"
    )
    assert len(error["data"]) == 66
    assert node.call("eth_sendRawTransactionSync", skipped)["status"] == "0x1"


def test_a_batch_of_transactions_is_answered_in_order_with_an_error_where_it_belongs(node: Any) -> None:
    raws = [node.signed(2) for _ in range(40)]
    raws[7:7] = ["0xc0", "0xzz", "0x123", "12", "0x01", "0x"]
    batch = [
        {"jsonrpc": "2.0", "id": f"call {place}", "method": "eth_sendRawTransaction", "params": [raw]}
        for place, raw in enumerate(raws)
    ]
    answers = node.answer(batch)
    assert [answer["id"] for answer in answers] == [call["id"] for call in batch]
    assert [place for place, answer in enumerate(answers) if "error" in answer] == [7, 8, 9, 10, 11, 12]
    assert answers[7]["error"]["data"]["code"] == "rlp_malformed"
    assert [answers[place]["error"]["message"] for place in (8, 9, 10)] == [
        "invalid argument 0: invalid hex string",
        "invalid argument 0: hex string of odd length",
        "invalid argument 0: hex string without 0x prefix",
    ]
    alone = [node.error("eth_sendRawTransaction", raw) for raw in ("0x01", "0x")]
    assert [answers[place]["error"] for place in (11, 12)] == alone
    assert alone[0]["message"].startswith("typed transaction too short")
    last = answers[-1]["result"]
    wait_for(lambda: node.call("eth_getTransactionReceipt", last))
    sealed = {
        node.call("eth_getTransactionReceipt", answer["result"])["status"] for answer in answers if "result" in answer
    }
    assert sealed == {"0x1"}


def test_a_blocks_traces_are_those_of_its_transactions(node: Any) -> None:
    receipt = node.call("eth_sendRawTransactionSync", node.signed(5))
    options = {"tracer": "callTracer"}
    block = node.call("eth_getBlockByHash", receipt["blockHash"], False)
    traces = node.call("debug_traceBlockByHash", receipt["blockHash"], options)
    assert traces == node.call("debug_traceBlockByNumber", receipt["blockNumber"], options)
    assert traces == [
        {"txHash": hash_, "result": node.call("debug_traceTransaction", hash_, options)}
        for hash_ in block["transactions"]
    ]
    assert receipt["transactionHash"] in [trace["txHash"] for trace in traces]


def test_pooled_transactions_stand_under_checksummed_addresses(node: Any) -> None:
    node.signed(9)  # left out: the next one waits behind its nonce
    node.call("eth_sendRawTransaction", node.signed(9, to=bytes.fromhex("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")))
    # The last development account, and the first example of EIP-55.
    sender, target = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert node.call("txpool_content")["queued"][sender]["1"]["from"] == sender.lower()
    assert node.call("txpool_inspect")["queued"][sender]["1"].startswith(target + ": ")


def test_the_pending_nonce_counts_what_is_in_the_pool(node: Any) -> None:
    wallet = node.call("eth_getTransactionByHash", node.call("eth_sendRawTransaction", node.signed(3)))["from"]
    for _ in range(3):
        node.call("eth_sendRawTransaction", node.signed(3))
    assert node.call("eth_getTransactionCount", wallet, "pending") == "0x4"


def test_every_documented_example_runs_and_every_method_is_documented(node: Any) -> None:
    documented = node.call("rpc_discover")
    assert documented == json.loads(json.dumps(document(node.node.version)))
    assert [entry["name"] for entry in documented["methods"]] == sorted(METHODS)
    assert all(entry["summary"] and entry["result"]["schema"] for entry in documented["methods"])
    calls = example_calls()
    answers = {answer["id"]: answer for answer in node.answer(calls)}
    failed = {name: answer["error"] for name, answer in answers.items() if "error" in answer}
    assert failed == {}
    assert len(answers) == len(calls)


def test_the_networks_endpoint_has_no_chain(node: Any) -> None:
    error = node.error("eth_chainId", rollup=None)
    assert error["code"] == -32601
    assert "/<chain id>" in error["message"]
    assert {rollup["chainId"] for rollup in node.call("plait_rollups", rollup=None)} == {901, 902}
    assert node.call("eth_chainId", rollup=902) == "0x386"


def test_filters_report_what_is_new_since_the_last_poll(node: Any) -> None:
    blocks, pending = node.call("eth_newBlockFilter"), node.call("eth_newPendingTransactionFilter")
    hash_ = node.call("eth_sendRawTransaction", node.signed(4))
    assert node.call("eth_getFilterChanges", pending) == [hash_]
    assert node.call("eth_getFilterChanges", pending) == []
    found = wait_for(lambda: node.call("eth_getFilterChanges", blocks))
    assert node.call("eth_getBlockByHash", found[0], False)["hash"] == found[0]
    assert node.call("eth_uninstallFilter", blocks) is True
    assert node.call("eth_uninstallFilter", blocks) is False
    assert node.error("eth_getFilterChanges", blocks)["message"] == "filter not found"


def test_a_transaction_behind_a_gap_is_announced_when_the_gap_is_filled(node: Any) -> None:
    pending = node.call("eth_newPendingTransactionFilter")
    first, second = node.signed(6), node.signed(6)
    waiting = node.call("eth_sendRawTransaction", second)
    assert node.call("eth_getFilterChanges", pending) == []
    filling = node.call("eth_sendRawTransaction", first)
    assert node.call("eth_getFilterChanges", pending) == [filling, waiting]


def test_the_guides_example_runs(node: Any) -> None:
    guide = (Path(__file__).resolve().parents[3] / "docs/guides/rpc.md").read_text()
    (body,) = re.findall(r"-d '([^']*)'", guide)
    assert int(node.answer(body.encode())["result"], 16) >= 0


def test_subscriptions_deliver_heads_logs_pending_transactions_and_sub_blocks(node: Any) -> None:
    with connect(node.websocket()) as socket:

        def ask(method: str, *params: Any) -> Any:
            socket.send(json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": list(params)}))
            while True:
                message = json.loads(socket.recv(timeout=10))
                if message.get("id") == method:
                    return message["result"]
                notified.append(message)

        notified: list[dict[str, Any]] = []
        ids = {
            ask("eth_subscribe", "newHeads"): "newHeads",
            ask("eth_subscribe", "newPendingTransactions"): "hash",
            ask("eth_subscribe", "newPendingTransactions", True): "whole",
            ask("eth_subscribe", "logs", {}): "logs",
            ask("plait_subscribe", "subBlocks"): "subBlocks",
        }
        # A contract whose creation code emits one empty log.
        hash_ = ask(
            "eth_sendRawTransaction", node.signed(5, to=b"", data=bytes.fromhex("60006000a000"), gas_limit=100_000)
        )
        seen: dict[str, Any] = {}
        while len(seen) < 5:
            message = notified.pop(0) if notified else json.loads(socket.recv(timeout=10))
            seen.setdefault(ids[message["params"]["subscription"]], message["params"]["result"])
        assert seen["hash"] == hash_
        assert seen["whole"]["hash"] == hash_
        assert seen["logs"]["transactionHash"] == hash_
        assert node.call("eth_getBlockByNumber", seen["newHeads"]["number"], False)["hash"] == seen["newHeads"]["hash"]
        assert node.call("plait_getSubBlock", seen["subBlocks"]["height"]) == seen["subBlocks"]
        for identity, topic in ids.items():
            assert ask("plait_unsubscribe" if topic == "subBlocks" else "eth_unsubscribe", identity) is True
        assert len(node.server._streams) == 0
    error = node.error("eth_subscribe", "newHeads")
    assert (error["code"], error["message"][:27]) == (-32601, "notifications not supported")
