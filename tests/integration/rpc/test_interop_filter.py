"""This node as the interop filter of execution clients: requests letter for letter as op-geth and op-reth send them.

The numbers are those of op-core/interop; tests/conformance/opgeth/test_filter_for_op_geth.py asks with a real op-geth.
"""

import json
import time
from typing import Any, NamedTuple

import pytest

from plait.client import Bundle, Client
from plait.interop.access_list import Access, access_of, encode_accesses
from plait.interop.identifiers import LogIndex, Message, MessageChainId, message_of_log
from plait.interop.messages import CROSS_L2_INBOX
from plait.native import keccak256
from plait.types import Address, BlockNumber, Hash32, Seconds
from sim.listening import WALLETS, Running
from tests.integration.bundles.helpers import ONE, OTHER, next_nonce, run, signed

EMITTER = bytes.fromhex("60006000a000")
"""Creation code that emits one log without topics and data."""
DAY = 86_400
WEEK = 604_800


class Sent(NamedTuple):
    """A log in a sealed block."""

    message: Message
    timestamp: int

    @property
    def access(self) -> Access:
        return access_of(self.message)


def message_at(node: Running, log: dict[str, Any], rollup: int) -> Message:
    block = node.call("eth_getBlockByNumber", log["blockNumber"], False, rollup=rollup)
    return message_of_log(
        Address(bytes.fromhex(log["address"][2:])),
        [Hash32(bytes.fromhex(topic[2:])) for topic in log["topics"]],
        bytes.fromhex(log["data"][2:]),
        block_number=BlockNumber(int(log["blockNumber"], 16)),
        log_index=LogIndex(int(log["logIndex"], 16)),
        timestamp=Seconds(int(block["timestamp"], 16)),
        chain_id=MessageChainId(rollup),
    )


@pytest.fixture(scope="module")
def sent(node: Running) -> Sent:
    """A log of the first rollup, sealed, with the second rollup sealed past it."""
    while any(rollup["openBlock"] is None for rollup in node.call("plait_rollups", rollup=None)):
        time.sleep(0.05)

    async def work(client: Client) -> Any:
        raw = signed(0, ONE, next_nonce(node, 0, ONE), to=b"", value=0, data=EMITTER, gas_limit=100_000)
        bundle = Bundle().leg(ONE, raw).not_before(3)  # not in the first block that may hold messages
        await client.send(bundle)
        return await bundle.wait("sealed")

    status = run(node, work)
    receipt = node.call("eth_getTransactionReceipt", status["legs"][0]["transactions"][0])
    message = message_at(node, receipt["logs"][0], ONE)
    while head_time(node, OTHER) <= message.identifier.timestamp:
        time.sleep(0.05)
    return Sent(message, message.identifier.timestamp)


def head_time(node: Running, rollup: int) -> int:
    return int(node.call("eth_getBlockByNumber", "latest", False, rollup=rollup)["timestamp"], 16)


def keys_of(*accesses: Access) -> list[str]:
    return ["0x" + key.hex() for key in encode_accesses(accesses)]


def ask(
    node: Running,
    keys: list[str],
    timestamp: int,
    *,
    timeout: int = 0,
    chain: str = str(OTHER),
    level: str = "cross-unsafe",
    method: str = "interop_checkAccessList",
    rollup: int | None = None,
) -> Any:
    """None when it is admitted, or the error, of a request as op-geth writes it."""
    body = (
        f'{{"jsonrpc":"2.0","id":7,"method":"{method}","params":[{json.dumps(keys)},"{level}",'
        f'{{"chainID":"{chain}","timestamp":"{hex(timestamp)}","timeout":"{hex(timeout)}"}}]}}'
    )
    answer = node.answer(body.encode(), rollup=rollup)
    assert answer["id"] == 7
    if "error" in answer:
        return answer["error"]
    assert answer == {"jsonrpc": "2.0", "id": 7, "result": None}
    return None


@pytest.mark.parametrize("method", ["interop_checkAccessList", "supervisor_checkAccessList"])
@pytest.mark.parametrize("rollup", [None, ONE, OTHER])
def test_a_valid_message_is_admitted_under_both_names_on_every_path(
    node: Running, sent: Sent, method: str, rollup: int | None
) -> None:
    keys = keys_of(sent.access)
    assert ask(node, keys, sent.timestamp + 1, timeout=DAY, method=method, rollup=rollup) is None


@pytest.mark.parametrize("level", ["unsafe", "cross-unsafe", "local-safe", "safe", "finalized"])
def test_a_sealed_log_has_every_safety_level(node: Running, sent: Sent, level: str) -> None:
    assert ask(node, keys_of(sent.access, sent.access), sent.timestamp + 1, level=level) is None


def test_op_reths_form_of_the_request_is_understood(node: Running, sent: Sent) -> None:
    keys = keys_of(sent.access)
    for descriptor in (
        {"timestamp": hex(sent.timestamp + 1), "timeout": "0x15180", "chainID": OTHER},
        {"chainID": hex(OTHER), "timestamp": sent.timestamp + 1},
        {"chainID": str(OTHER), "timestamp": hex(sent.timestamp + 1), "timeout": None},
    ):
        assert node.call("interop_checkAccessList", keys, "cross-unsafe", descriptor, rollup=None) is None


def test_nothing_to_execute_is_admitted(node: Running) -> None:
    assert ask(node, [], head_time(node, OTHER) + 1) is None


def changed(access: Access, **fields: Any) -> Access:
    names = ("block_number", "timestamp", "log_index", "chain_id", "checksum")
    return Access(**{name: fields.get(name, getattr(access, name)) for name in names})


def test_each_rule_has_its_number_and_its_code(node: Running, sent: Sent) -> None:
    access, at = sent.access, sent.timestamp
    checksum = Hash32(access.checksum[:-1] + bytes([access.checksum[-1] ^ 1]))
    genesis = node.call("plait_networkInfo")["genesisTime"]
    ahead = head_time(node, ONE) + 1_000
    cases: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
        ({"checksum": checksum}, {}, -320600, "message_checksum_wrong"),
        ({"log_index": 9}, {}, -320600, "message_missing"),
        ({"timestamp": at - 1}, {}, -320600, "message_timestamp_wrong"),
        ({"block_number": access.block_number + 10**6}, {}, -321401, "message_not_yet"),
        ({"block_number": 2**64 - 1}, {}, -321401, "message_not_yet"),
        ({"chain_id": 777}, {}, -320501, "chain_unknown"),
        ({"chain_id": 2**200}, {}, -320501, "chain_unknown"),
        ({"timestamp": genesis, "block_number": 0}, {}, -320600, "initiation_too_early"),
        ({}, {"timestamp": at}, -320600, "message_not_before_execution"),
        ({}, {"timestamp": at - 1}, -320600, "message_not_before_execution"),
        ({}, {"timestamp": genesis}, -320600, "execution_too_early"),
        ({}, {"timestamp": at + WEEK + 1}, -320600, "message_expired"),
        ({}, {"timestamp": at + 1, "timeout": WEEK}, -320600, "message_expires_before_timeout"),
        ({}, {"chain": "777"}, -320501, "chain_unknown"),
        ({}, {"chain": str(2**255)}, -320501, "chain_unknown"),
        ({"timestamp": ahead}, {"timestamp": ahead + 1}, -321100, "message_beyond_read"),
    ]
    for fields, options, number, code in cases:
        error = ask(node, keys_of(changed(access, **fields)), **({"timestamp": at + 1} | options))
        assert error is not None, (fields, options)
        assert (error["code"], error["data"]["code"]) == (number, code), (fields, options, error)
        assert len(error["message"]) > 10
        if "chain" not in options:
            mixed = keys_of(access, changed(access, **fields))
            assert ask(node, mixed, **({"timestamp": at + 1} | options))["code"] == number, "every key is looked at"
    assert ask(node, keys_of(access), at + WEEK) is None
    assert ask(node, keys_of(access), at + 1, timeout=WEEK - 1) is None


def test_malformed_access_lists_are_invalid_parameters(node: Running, sent: Sent) -> None:
    lookup, checksum = keys_of(sent.access)
    for keys, code in (
        ([lookup], "access_list_incomplete"),
        ([checksum, lookup], "access_list_key_type"),
        ([lookup, lookup], "access_list_key_type"),
        (["0x01ff" + lookup[6:], checksum], "access_list_padding"),
        (["0x04" + lookup[4:], checksum], "access_list_key_type"),
    ):
        error = ask(node, keys, sent.timestamp + 1)
        assert (error["code"], error["data"]["code"]) == (-32602, code), keys
        assert error["message"].startswith("failed to parse access entry")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ([["0x01"], "unsafe", {"chainID": "902", "timestamp": "0x1"}], "argument 0"),
        (["0x01", "unsafe", {"chainID": "902", "timestamp": "0x1"}], "argument 0"),
        ([[], "very-safe", {"chainID": "902", "timestamp": "0x1"}], "safety level"),
        ([[], "unsafe", {"timestamp": "0x1"}], "chainID"),
        ([[], "unsafe", {"chainID": "902"}], "timestamp"),
        ([[], "unsafe", {"chainID": "nine", "timestamp": "0x1"}], "argument 2"),
        ([[], "unsafe", {"chainID": "902", "timestamp": hex(2**64)}], "argument 2"),
        ([[], "unsafe"], "required argument 2"),
        ([["0x" + "01" * 32] * 6_001, "unsafe", {"chainID": "902", "timestamp": "0x1"}], "at most"),
    ],
)
def test_what_is_no_request_is_refused(node: Running, params: list[Any], words: str) -> None:
    error = node.error("interop_checkAccessList", *params, rollup=None)
    assert (error["code"], words in error["message"]) == (-32602, True), error


def test_block_hashes_and_the_failsafe_can_be_asked_for(node: Running) -> None:
    for rollup in (ONE, OTHER):
        head = node.call("eth_getBlockByNumber", "latest", False, rollup=rollup)
        first = node.call("eth_getBlockByNumber", "0x1", False, rollup=rollup)
        assert node.call("interop_getBlockHashByNumber", str(rollup), "0x1", rollup=None) == first["hash"]
        newest = node.call("interop_getBlockHashByNumber", str(rollup), "latest", rollup=None)
        wanted = {head["hash"], node.call("eth_getBlockByNumber", "latest", False, rollup=rollup)["hash"]}
        assert newest in wanted
    missing = node.error("interop_getBlockHashByNumber", "901", hex(10**6), rollup=None)
    assert (missing["code"], "not found" in missing["message"]) == (-32000, True)
    assert node.error("interop_getBlockHashByNumber", "777", "latest", rollup=None)["code"] == -320501
    assert node.error("interop_getBlockHashByNumber", "901", "pending", rollup=None)["code"] == -32602
    assert node.call("admin_getFailsafeEnabled", rollup=None) is False


def executing(user: int, rollup: int, nonce: int, keys: list[str]) -> str:
    """A transfer that declares messages: what is declared must be valid, whether the inbox is called or not."""
    entries = [bytes.fromhex(key[2:]) for key in keys]
    fields = {"gas_limit": 200_000, "access_list": [(CROSS_L2_INBOX, entries)]}
    return "0x" + signed(user, rollup, nonce, **fields).hex()


def test_a_transaction_whose_message_can_never_be_executed_is_refused_at_once(node: Running, sent: Sent) -> None:
    access = sent.access
    checksum = Hash32(access.checksum[:-1] + bytes([access.checksum[-1] ^ 1]))
    nonce = next_nonce(node, 2, OTHER)
    for keys, number, code in (
        (keys_of(changed(access, checksum=checksum)), -320600, "message_checksum_wrong"),
        (keys_of(changed(access, log_index=5)), -320600, "message_missing"),
        (keys_of(access, changed(access, chain_id=777)), -320501, "chain_unknown"),
        (keys_of(access)[:1], -32602, "access_list_incomplete"),
    ):
        error = node.error("eth_sendRawTransaction", executing(2, OTHER, nonce, keys), rollup=OTHER)
        assert (error["code"], error["data"]["code"]) == (number, code)
    assert node.call("txpool_contentFrom", "0x" + WALLETS[2].address.hex(), rollup=OTHER)["pending"] == {}


def test_a_batch_keeps_its_order_and_only_the_bad_ones_are_refused(node: Running, sent: Sent) -> None:
    bad = keys_of(changed(sent.access, log_index=5))
    good = executing(5, OTHER, 0, keys_of(sent.access))
    raws = ["0x" + signed(3, OTHER, 0).hex(), executing(4, OTHER, 0, bad), "0x02", good]
    raws += [executing(6, OTHER, 0, bad), "0x" + signed(7, OTHER, 0).hex()]
    batch = [
        {"jsonrpc": "2.0", "id": place, "method": "eth_sendRawTransaction", "params": [raw]}
        for place, raw in enumerate(raws)
    ]
    answers = node.answer(batch, rollup=OTHER)
    codes = [answer.get("error", {}).get("data", {}).get("code") for answer in answers]
    assert [answer["id"] for answer in answers] == list(range(6))
    assert codes == [None, "message_missing", "rlp_malformed", None, "message_missing", None]
    for place in (0, 3, 5):
        assert answers[place]["result"] == "0x" + keccak256(bytes.fromhex(raws[place][2:])).hex()
    deadline = time.monotonic() + 10
    while node.call("eth_getTransactionReceipt", answers[3]["result"], rollup=OTHER) is None:
        assert time.monotonic() < deadline, "the valid one is ordered"
        time.sleep(0.1)


def test_a_transaction_whose_message_is_still_to_come_waits(node: Running, sent: Sent) -> None:
    later = changed(sent.access, block_number=sent.access.block_number + 10**6, timestamp=sent.timestamp + 10**6)
    found = node.call("eth_sendRawTransaction", executing(8, OTHER, 0, keys_of(later)), rollup=OTHER)
    assert node.call("plait_getTransactionStatus", found, rollup=OTHER)["level"] == "received"


def test_a_bundle_whose_message_can_never_be_executed_is_refused_at_once(node: Running, sent: Sent) -> None:
    raw = executing(2, OTHER, next_nonce(node, 2, OTHER), keys_of(changed(sent.access, log_index=5)))
    legs = [{"rollupId": OTHER, "transactions": ["0x" + signed(2, OTHER, next_nonce(node, 2, OTHER)).hex(), raw]}]
    errors = [
        node.error("plait_sendBundle", {"legs": legs}, rollup=None),
        node.error("eth_sendBundle", {"txs": [raw]}, rollup=OTHER),
    ]
    for error, index in zip(errors, (1, 0), strict=True):
        assert (error["code"], error["data"]["code"]) == (-320600, "message_missing")
        assert (error["data"]["rollupId"], error["data"]["index"]) == (OTHER, index)
    simulated = node.call("plait_simulateBundle", {"legs": [{"rollupId": OTHER, "transactions": [raw]}]}, rollup=None)
    failure = simulated["failure"]
    assert (failure["code"], failure["reason"]) == ("bundle_message_invalid", "message_missing")
