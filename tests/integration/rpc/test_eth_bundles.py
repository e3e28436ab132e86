"""Bundles of one rollup in the shape that searchers' libraries send, on a running node: bounds of blocks and
timestamps, hashes that may revert, replacement and cancelling by a client's own id, and the simulation's result.

The header is made with eth-account as those libraries make it: the body's Keccak-256 as hex text, signed (EIP-191).
"""

import json
import time
from typing import Any
from uuid import uuid4

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils import keccak

from plait.mempool import Label
from plait.mempool.label_requests import label_of
from plait.rollups.contracts import artifact
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import RollupId
from sim.listening import WALLETS, Running
from tests.integration.bundles.helpers import ONE, TO, calldata, deploy, next_nonce, signed, traces

KEY = DEVELOPMENT_ACCOUNTS[8].private_key
STRANGER = b"\x77" * 32
VAULT = bytes.fromhex("4200000000000000000000000000000000000011")


def header_for(body: bytes, key: bytes = KEY) -> dict[str, str]:
    account = Account.from_key(key)
    signature = account.sign_message(encode_defunct(text="0x" + keccak(body).hex())).signature
    return {"X-Flashbots-Signature": f"{account.address}:0x{bytes(signature).hex()}"}


def ask(node: Running, method: str, parameter: object, key: bytes | None = None) -> dict[str, Any]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": [parameter]}).encode()
    _, text, _ = node.post(body, headers=None if key is None else header_for(body, key))
    found: dict[str, Any] = json.loads(text)
    return found


def send(node: Running, parameter: dict[str, Any], key: bytes | None = None) -> str:
    answer = ask(node, "eth_sendBundle", parameter, key)
    assert "result" in answer, answer
    return str(answer["result"]["bundleHash"])


def code_of(answer: dict[str, Any]) -> str | None:
    return answer["error"].get("data", {}).get("code")


def open_block(node: Running) -> int:
    """Number of the rollup's open block, with time enough left in it for a test to use it."""
    deadline = time.monotonic() + 20
    while True:
        slot = node.call("plait_slot")
        block = node.call("plait_rollups")[0]["openBlock"]
        if block is not None and slot["nextSlotMs"] - slot["clockMs"] > 400:
            return int(block["number"])
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(node: Running, bundle_hash: str, *, seconds: float = 15) -> dict[str, Any]:
    """Status of a bundle that is no longer waiting."""
    deadline = time.monotonic() + seconds
    while True:
        status: dict[str, Any] = node.call("plait_getBundle", bundle_hash)
        if status["status"] != "received":
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


def hexes(*raws: bytes) -> list[str]:
    return ["0x" + raw.hex() for raw in raws]


@pytest.fixture(scope="module")
def bench(node: Running) -> bytes:
    open_block(node)
    return deploy(node, 9, ONE, artifact("Workbench").creation_code)


@pytest.mark.parametrize("form", [hex, str, int])
def test_a_bundle_takes_place_in_the_block_that_it_names(node: Running, form: Any) -> None:
    number = open_block(node) + 2
    nonce = next_nonce(node, 0, ONE)
    found = send(node, {"txs": hexes(signed(0, ONE, nonce), signed(0, ONE, nonce + 1)), "blockNumber": form(number)})
    status = ended(node, found)
    assert (status["status"], status["legs"][0]["blockNumber"]) == ("decided", number)
    for hash_ in status["legs"][0]["transactions"]:
        assert node.call("eth_getTransactionByHash", hash_)["blockNumber"] in {None, hex(number)}


def test_block_and_timestamp_bounds_are_the_rollups_grid(node: Running) -> None:
    number = open_block(node)
    info = node.call("plait_networkInfo")
    seconds = info["genesisTime"] + number + 2  # a block per second
    cases: list[dict[str, Any]] = [
        {"minBlockNumber": number + 2, "maxBlockNumber": number + 2},
        {"minTimestamp": seconds, "maxTimestamp": seconds},
        {"minBlockNumber": hex(number + 1), "minTimestamp": seconds, "maxTimestamp": seconds + 10**9},
    ]
    for value, case in enumerate(cases):
        found = send(node, {"txs": hexes(signed(1, ONE, 10_000, value=value))} | case)
        status = node.call("plait_getBundle", found)
        assert status["notBeforeSlot"] == number + 2, case
    longer = {"minBlockNumber": number + 2, "maxBlockNumber": number + 4}
    found = send(node, {"txs": hexes(signed(1, ONE, 10_000))} | longer)
    assert node.call("plait_getBundle", found)["deadlineSlot"] == number + 4


def test_without_bounds_it_waits_from_now_on_for_the_usual_time(node: Running) -> None:
    slot = node.call("plait_slot")["clockSlot"]
    nothing = {"minTimestamp": 0, "maxTimestamp": 0, "blockNumber": "0x0"}
    status = node.call("plait_getBundle", send(node, {"txs": hexes(signed(1, ONE, 10_001))} | nothing))
    assert status["notBeforeSlot"] == 0
    assert slot <= status["deadlineSlot"] - 30 <= slot + 1


def test_only_named_hashes_may_revert(node: Running, bench: bytes) -> None:
    before = traces(node, 2)
    number = open_block(node)
    nonce = next_nonce(node, 2, ONE)
    good = signed(2, ONE, nonce)
    bad = signed(2, ONE, nonce + 1, to=bench, value=0, data=calldata("revertPlain()"), gas_limit=100_000)
    first = ended(node, send(node, {"txs": hexes(good, bad), "maxBlockNumber": number + 1}))
    assert (first["status"], first["dropped"]["code"]) == ("dropped", "bundle_expired")
    assert first["dropped"]["reason"] == "reverted"
    assert traces(node, 2) == before
    allowed = {"txs": hexes(good, bad), "revertingTxHashes": ["0x" + keccak(bad).hex()]}
    second = ended(node, send(node, allowed))
    assert second["status"] == "decided"
    assert next_nonce(node, 2, ONE) == nonce + 2


def test_a_second_bundle_under_an_id_takes_the_place_of_the_first(node: Running) -> None:
    uuid, number = str(uuid4()), open_block(node) + 100
    first = send(node, {"txs": hexes(signed(3, ONE, 0)), "blockNumber": number, "replacementUuid": uuid}, KEY)
    second = send(node, {"txs": hexes(signed(3, ONE, 0, value=2)), "blockNumber": number, "replacementUuid": uuid}, KEY)
    statuses = [node.call("plait_getBundle", found) for found in (first, second)]
    assert [status["status"] for status in statuses] == ["dropped", "received"]
    assert statuses[0]["dropped"]["code"] == "bundle_replaced"
    other = send(
        node, {"txs": hexes(signed(3, ONE, 0, value=3)), "blockNumber": number, "replacementUuid": uuid}, STRANGER
    )
    assert node.call("plait_getBundle", second)["status"] == "received", "another signer's id is another id"
    assert code_of(ask(node, "eth_cancelBundle", {"replacementUuid": str(uuid4())}, KEY)) == "bundle_unknown"
    assert ask(node, "eth_cancelBundle", {"replacementUuid": uuid}, KEY)["result"] is True
    assert node.call("plait_getBundle", second)["dropped"]["code"] == "bundle_cancelled"
    assert node.call("plait_getBundle", other)["status"] == "received"
    assert code_of(ask(node, "eth_cancelBundle", {"replacementUuid": uuid}, KEY)) == "bundle_unknown"


def test_an_id_needs_a_signed_request_and_the_right_signature(node: Running) -> None:
    parameter = {"txs": hexes(signed(3, ONE, 1)), "replacementUuid": "mine"}
    assert code_of(ask(node, "eth_sendBundle", parameter)) == "requester_unknown"
    assert code_of(ask(node, "eth_cancelBundle", {"replacementUuid": "mine"})) == "requester_unknown"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_sendBundle", "params": [parameter]}).encode()
    good = header_for(body)["X-Flashbots-Signature"]
    address, signature = good.split(":")
    for header in (
        header_for(body + b" ")["X-Flashbots-Signature"],  # another body
        f"0x{WALLETS[0].address.hex()}:{signature}",  # another address
        f"{address}:0x1234",
        f"{address}",
        "nonsense",
        "",
        f"{address}:{signature[:-2]}99",
    ):
        _, text, _ = node.post(body, headers={"X-Flashbots-Signature": header})
        assert code_of(json.loads(text)) == "request_signature_wrong", header
    node.alive()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"txs": []}, "bundle_leg_empty"),
        ({"txs": ["0x02c0"]}, "rlp_malformed"),
        ({"blockNumber": 1}, "bundle_past_deadline"),
        ({"maxBlockNumber": 10**6}, "bundle_deadline_too_far"),
        ({"minBlockNumber": 9, "maxBlockNumber": 8}, "bundle_window_empty"),
        ({"maxTimestamp": 1}, "bundle_window_empty"),
        ({"revertingTxHashes": ["0x" + "11" * 32]}, "bundle_allowed_revert_unknown"),
        ({"droppingTxHashes": ["0x" + "11" * 32]}, "bundle_field_unsupported"),
        ({"minFlashblockNumber": 1}, "bundle_field_unsupported"),
    ],
)
def test_each_refusal_has_its_code_and_leaves_no_trace(node: Running, changes: dict[str, Any], code: str) -> None:
    before = traces(node, 4)
    answer = ask(node, "eth_sendBundle", {"txs": hexes(signed(4, ONE, 0))} | changes)
    assert (answer["error"]["code"], code_of(answer)) == (-32000, code)
    assert len(answer["error"]["message"]) > 15
    assert traces(node, 4) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"txs": None}, "txs"),
        ({"txs": ["02"]}, "0x prefix"),
        ({"blockNumber": "soon"}, "blockNumber"),
        ({"blockNumber": -1}, "blockNumber"),
        ({"blockNumber": 5, "maxBlockNumber": 6}, "blockNumber excludes"),
        ({"refundPercent": 90}, "refundPercent"),
        ({"revertingTxHashes": ["0x11"]}, "want 64"),
        ({"replacementUuid": ""}, "replacementUuid"),
        ({"replacementUuid": "x" * 65}, "replacementUuid"),
    ],
)
def test_malformed_bundles_are_invalid_parameters(node: Running, changes: dict[str, Any], words: str) -> None:
    error = ask(node, "eth_sendBundle", {"txs": hexes(signed(4, ONE, 0))} | changes)["error"]
    assert (error["code"], words in error["message"]) == (-32602, True), error


def test_the_methods_are_those_of_a_rollup(node: Running) -> None:
    for method in ("eth_sendBundle", "eth_callBundle", "eth_cancelBundle"):
        assert node.error(method, {}, rollup=None)["code"] == -32601


# ---------------------------------------------------------------- eth_callBundle
def test_a_simulation_gives_the_common_result_and_changes_nothing(node: Running, bench: bytes) -> None:
    before = traces(node, 5)
    number, nonce = open_block(node), next_nonce(node, 5, ONE)
    tip = 3 * 10**9
    raws = [
        signed(5, ONE, nonce, max_priority_fee_per_gas=tip),
        signed(5, ONE, nonce + 1, to=VAULT, value=10**15, gas_limit=60_000, max_priority_fee_per_gas=tip),
        signed(5, ONE, nonce + 2, to=bench, value=0, data=calldata("revertReason(string)", "not today"),
               gas_limit=100_000, max_priority_fee_per_gas=tip),
        signed(5, ONE, nonce + 3, to=bench, data=calldata("count()"), gas_limit=100_000, max_priority_fee_per_gas=tip),
    ]  # fmt: skip
    result = ask(
        node, "eth_callBundle", {"txs": hexes(*raws), "blockNumber": hex(number), "stateBlockNumber": "latest"}
    )
    result = result["result"]
    shown = result["results"]
    assert [item["txHash"] for item in shown] == ["0x" + keccak(raw).hex() for raw in raws]
    assert {item["fromAddress"] for item in shown} == {"0x" + WALLETS[5].address.hex()}
    assert [item["toAddress"] for item in shown] == ["0x" + to.hex() for to in (TO, VAULT, bench, bench)]
    assert shown[0]["gasUsed"] == 21_000
    for item in shown:
        assert int(item["gasFees"]) == item["gasUsed"] * tip
        assert int(item["coinbaseDiff"]) == int(item["gasFees"]) + int(item["ethSentToCoinbase"])
        assert int(item["gasPrice"]) == int(item["coinbaseDiff"]) // item["gasUsed"]
    assert [int(item["ethSentToCoinbase"]) for item in shown] == [0, 10**15, 0, 0]
    assert (shown[2]["error"], "value" in shown[2]) == ("execution reverted: not today", False)
    assert shown[2]["revert"].startswith("0x08c379a0")
    assert (int(shown[3]["value"], 16), "error" in shown[3]) == (1, False)
    assert result["totalGasUsed"] == sum(item["gasUsed"] for item in shown)
    for name in ("coinbaseDiff", "ethSentToCoinbase", "gasFees"):
        assert int(result[name]) == sum(int(item[name]) for item in shown)
    assert int(result["bundleGasPrice"]) == int(result["coinbaseDiff"]) // result["totalGasUsed"]
    assert number - 1 <= result["stateBlockNumber"] <= number
    assert traces(node, 5) == before


def test_a_simulations_hash_is_the_one_that_sending_gives(node: Running) -> None:
    parameter = {"txs": hexes(signed(6, ONE, next_nonce(node, 6, ONE))), "blockNumber": hex(open_block(node) + 3)}
    simulated = ask(node, "eth_callBundle", parameter | {"stateBlockNumber": "latest"})["result"]
    assert simulated["bundleHash"] == send(node, parameter)


def test_a_simulation_of_what_cannot_be_applied_says_why(node: Running) -> None:
    nonce = next_nonce(node, 7, ONE)
    gap = ask(node, "eth_callBundle", {"txs": hexes(signed(7, ONE, nonce), signed(7, ONE, nonce + 2))})
    assert gap["error"]["message"].startswith("err: ")
    assert code_of(gap) == "nonce_too_high"
    raw = hexes(signed(7, ONE, nonce))
    for changes, code in (
        ({"stateBlockNumber": "earliest"}, "bundle_state_unavailable"),
        ({"timestamp": 1}, "bundle_state_unavailable"),
        ({"blockNumber": 1}, "bundle_past_deadline"),
    ):
        assert code_of(ask(node, "eth_callBundle", {"txs": raw} | changes)) == code


def test_other_nodes_can_tell_from_the_signed_body_who_may_replace_and_cancel(node: Running) -> None:
    """What travels with the bundle, and with its cancellation, proves the label to a node that saw no request."""
    told: list[Any] = []
    node.node.bundles.listen_handed_in(told.append)
    uuid = str(uuid4())
    raws = (signed(3, ONE, 0, value=77),)
    parameter = {"txs": hexes(*raws), "blockNumber": open_block(node) + 30, "replacementUuid": uuid}
    found = send(node, parameter, KEY)
    entry = node.node.bundles.handed_in(bytes.fromhex(found[2:]))
    assert entry is not None
    assert entry.request is not None
    requester = bytes.fromhex(Account.from_key(KEY).address[2:])
    assert label_of(entry.request, RollupId(ONE), raws) == Label(requester, RollupId(ONE), uuid)
    assert ask(node, "eth_cancelBundle", {"replacementUuid": uuid}, KEY)["result"] is True
    assert told[0] == entry.hash
    assert label_of(told[1].request, told[1].rollup_id, None) == Label(requester, RollupId(ONE), uuid)
