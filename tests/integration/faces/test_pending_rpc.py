"""What wallets see of the open block on a node that publishes flashblocks, and what tools of the OP Stack ask."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from plait.derivation.output_roots import output_root_v0, super_root_v1
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.rollups.opstack.faces.settings import FacesSettings, FlashblocksSettings
from plait.rpc import RpcConfig
from plait.types import ChainId, Hash32, Seconds
from sim.listening import WALLETS, Running, running

# A contract whose constructor logs 32 bytes with one topic: LOG1(0, 32, 7), then returns nothing.
LOGGING = bytes.fromhex("600760206000a100")


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=5,
        rollups=(
            RollupConfig(chain_id=901, block_time_slots=2),
            RollupConfig(chain_id=902, fork="holocene"),
        ),
    )
    config = NodeConfig(log_level="error", faces=FacesSettings(flashblocks=FlashblocksSettings(port=0)))
    yield from running(RpcConfig(port=0, rollup_port_base=None), network, config)


def until(node: Running, condition: Any, seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come")


def test_a_receipt_of_the_open_block_is_the_sealed_one_but_for_the_hash(node: Running) -> None:
    for user, fields in ((0, {}), (1, {"to": b"", "value": 0, "data": LOGGING, "gas_limit": 200_000})):
        for _attempt in range(5):
            early = node.call("eth_sendRawTransactionSync", node.signed(user, **fields), 10_000)
            if early["blockHash"] == "0x" + "00" * 32:
                break
        else:
            raise AssertionError("the answer never came before the block was sealed")
        hash_ = early["transactionHash"]
        assert node.call("eth_getTransactionByHash", hash_)["blockHash"] is None
        late = until(
            node,
            lambda hash_=hash_: (
                found
                if (found := node.call("eth_getTransactionReceipt", hash_))["blockHash"] != "0x" + "00" * 32
                else None
            ),
        )
        l1 = {name for name in late if name.startswith(("l1", "operatorFee", "daFootprint")) or name == "blobGasUsed"}
        expected = {name: value for name, value in late.items() if name not in l1}
        assert sealed_as_pending(expected) == early
        assert len(late["logs"]) == (1 if fields else 0)


def sealed_as_pending(receipt: dict[str, Any]) -> dict[str, Any]:
    zero = {"blockHash": "0x" + "00" * 32}
    return receipt | zero | {"logs": [log | zero for log in receipt["logs"]]}


def test_pending_is_the_open_block_for_every_method_of_the_flashblocks_list(node: Running) -> None:
    sink = "0x" + "5a" * 20
    before = int(node.call("eth_getBalance", sink, "latest"), 16)
    for _attempt in range(5):
        receipt = node.call(
            "eth_sendRawTransactionSync", node.signed(2, to=bytes.fromhex(sink[2:]), value=77, gas_limit=30_000), 10_000
        )
        pending, latest = (int(node.call("eth_getBalance", sink, tag), 16) for tag in ("pending", "latest"))
        if receipt["blockHash"] == "0x" + "00" * 32 and latest == before:
            break
        before = latest
    else:
        raise AssertionError("the open block was never seen")
    assert pending == before + 77
    user = "0x" + WALLETS[2].address.hex()
    assert (
        int(node.call("eth_getTransactionCount", user, "pending"), 16)
        > int(node.call("eth_getTransactionCount", user, "latest"), 16)
        or node.call("eth_getTransactionReceipt", receipt["transactionHash"])["blockHash"] != "0x" + "00" * 32
    )
    block = node.call("eth_getBlockByNumber", "pending", False)
    assert block["hash"] is None or receipt["transactionHash"] not in block["transactions"]
    # BALANCE of the sink, returned: eth_call and eth_estimateGas run in the open block.
    code = "0x73" + sink[2:] + "3160005260206000f3"
    assert int(node.call("eth_call", {"data": code}, "pending"), 16) >= before + 77
    assert int(node.call("eth_estimateGas", {"data": code}, "pending"), 16) > 53_000
    assert node.call("eth_getCode", sink, "pending") == "0x"
    assert node.call("eth_getStorageAt", sink, "0x0", "pending") == "0x" + "00" * 32


def test_the_capability_is_named_where_flashblocks_are_published_and_only_there(node: Running) -> None:
    assert node.call("op_supportedCapabilities") == ["flashblocksv1"]
    assert node.call("op_supportedCapabilities", rollup=None) == ["flashblocksv1"]
    for plain in running(RpcConfig(port=0, rollup_port_base=None)):
        check_plain(plain)


def check_plain(plain: Running) -> None:
    assert plain.call("op_supportedCapabilities") == []
    hash_ = plain.call("eth_sendRawTransaction", plain.signed())
    receipt = until(plain, lambda: plain.call("eth_getTransactionReceipt", hash_))
    assert receipt["blockHash"] != "0x" + "00" * 32, "without flashblocks there is no receipt before the block"
    receipt = plain.call("eth_sendRawTransactionSync", plain.signed(), 10_000)
    assert receipt["blockHash"] != "0x" + "00" * 32


@pytest.mark.parametrize("rollup", [901, 902], ids=["jovian", "holocene"])
def test_output_roots_commit_to_state_message_passer_and_block(node: Running, rollup: int) -> None:
    until(node, lambda: int(node.call("eth_blockNumber", rollup=rollup), 16) >= 2)
    for number in ("0x0", "0x2"):
        block = node.call("eth_getBlockByNumber", number, False, rollup=rollup)
        proof = node.call("eth_getProof", "0x42" + "00" * 18 + "16", [], number, rollup=rollup)
        parts = [Hash32(bytes.fromhex(text[2:])) for text in (block["stateRoot"], proof["storageHash"], block["hash"])]
        expected = "0x" + output_root_v0(*parts).hex()
        output = node.call("optimism_outputAtBlock", number, rollup=rollup)
        assert output["outputRoot"] == expected
        assert output["version"] == "0x" + "00" * 32
        assert output["withdrawalStorageRoot"] == proof["storageHash"]
        assert (output["blockRef"]["hash"], output["blockRef"]["number"]) == (block["hash"], int(number, 16))
        assert node.call("plait_getOutputRoot", number, rollup=rollup)["outputRoot"] == expected
    assert node.error("optimism_outputAtBlock", "0xffffff", rollup=rollup)["message"] == "not found"


def test_tools_that_expect_an_op_node_find_its_answers(node: Running) -> None:
    status = node.call("optimism_syncStatus")
    for name in ("unsafe_l2", "safe_l2", "finalized_l2", "pending_safe_l2", "cross_unsafe_l2", "local_safe_l2"):
        reference = status[name]
        block = node.call("eth_getBlockByNumber", hex(reference["number"]), False)
        assert reference["hash"] == block["hash"]
        assert reference["timestamp"] == int(block["timestamp"], 16)
        assert reference["l1origin"]["number"] >= 0
    assert {"current_l1", "current_l1_finalized", "head_l1", "safe_l1", "finalized_l1"} <= set(status)
    assert node.call("optimism_version").startswith("v")
    assert node.error("optimism_rollupConfig")["data"]["code"] == "rollup_config_missing"


def test_a_super_root_is_over_the_last_block_of_every_rollup_at_a_timestamp(node: Running) -> None:
    until(node, lambda: int(node.call("eth_blockNumber"), 16) >= 3)
    genesis = int(node.call("eth_getBlockByNumber", "0x0", False)["timestamp"], 16)
    # 901 has a block every two seconds, 902 every second: at genesis + 3 they are at 1 and 3.
    found = node.call("superroot_atTimestamp", hex(genesis + 3), rollup=None)
    outputs = []
    for rollup, number in ((901, 1), (902, 3)):
        root = node.call("optimism_outputAtBlock", hex(number), rollup=rollup)["outputRoot"]
        shown = found["optimistic_at_timestamp"][str(rollup)]
        assert shown["output"]["blockRef"]["number"] == number
        assert shown["output_root"] == root
        outputs.append((ChainId(rollup), Hash32(bytes.fromhex(root[2:]))))
    assert found["chain_ids"] == ["901", "902"]
    assert found["data"]["super_root"] == "0x" + super_root_v1(Seconds(genesis + 3), outputs).hex()
    assert found["data"]["super"]["timestamp"] == hex(genesis + 3)
    assert [chain["ChainID"] for chain in found["data"]["super"]["chains"]] == ["901", "902"]
    future = node.call("superroot_atTimestamp", hex(genesis + 100_000), rollup=None)
    assert future["data"] is None
    assert future["optimistic_at_timestamp"] == {}
    assert json.dumps(node.call("superroot_atTimestamp", hex(genesis - 1), rollup=None)["data"]) == "null"
