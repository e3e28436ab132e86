"""Compares what Plait and op-geth answer about the same chain, and finds where a refused block differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from opgeth_node import OpGeth, RpcError
from random_blocks import Block

from plait.derivation.attributes import L1_BLOCK, Fork
from plait.native import Rollup, Transaction
from plait.rollups.embedded.genesis import MESSAGE_PASSER

DIFFERENCES_MAX = 12


def differences(path: str, ours: Any, theirs: Any) -> list[str]:
    """Paths at which two JSON values differ, with both values."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in ours:
                found.append(f"{path}.{key}: missing, op-geth has {_short(theirs[key])}")
            elif key not in theirs:
                found.append(f"{path}.{key}: {_short(ours[key])}, op-geth has no such field")
            else:
                found += differences(f"{path}.{key}", ours[key], theirs[key])
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            line
            for index, pair in enumerate(zip(ours, theirs, strict=True))
            for line in differences(f"{path}[{index}]", *pair)
        ]
    return (
        [] if ours == theirs and type(ours) is type(theirs) else [f"{path}: {_short(ours)}, op-geth {_short(theirs)}"]
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:160] + "..."


def _load(answer: bytes | None) -> Any:
    return None if answer is None else json.loads(answer)


def compare_answers(op_geth: OpGeth, rollup: Rollup, number: int) -> list[str]:
    """Differences of the answers about block `number`, both sides having it as their head."""
    eth, tag = op_geth.eth, hex(number)
    block = eth.call("eth_getBlockByNumber", tag, True)
    found = differences("block", _load(rollup.block_json(number, True)), block)
    found += differences("block", _load(rollup.block_json(number, False)), eth.call("eth_getBlockByNumber", tag, False))
    receipts = eth.call("eth_getBlockReceipts", tag)
    found += differences("receipts", _load(rollup.block_receipts_json(number)), receipts)
    for transaction in block["transactions"]:
        identity = bytes.fromhex(transaction["hash"][2:])
        found += differences("transaction", _load(rollup.transaction_json(identity)), transaction)
        receipt = eth.call("eth_getTransactionReceipt", transaction["hash"])
        found += differences("receipt", _load(rollup.receipt_json(identity)), receipt)
    found += _compare_raw(op_geth, rollup, number)
    found += _compare_proofs(op_geth, rollup, number, block)
    found += _compare_logs(op_geth, rollup, number)
    found += _compare_fee_history(op_geth, rollup, number)
    return found[:DIFFERENCES_MAX]


def _compare_raw(op_geth: OpGeth, rollup: Rollup, number: int) -> list[str]:
    eth, tag = op_geth.eth, hex(number)
    found = []
    for name, ours in (("Header", rollup.raw_header(number)), ("Block", rollup.raw_block(number))):
        assert ours is not None
        found += differences(f"raw {name}", "0x" + ours.hex(), eth.call(f"debug_getRaw{name}", tag))
    receipts = rollup.raw_receipts(number)
    assert receipts is not None
    found += differences(
        "raw receipts", ["0x" + item.hex() for item in receipts], eth.call("debug_getRawReceipts", tag)
    )
    return found


def _compare_proofs(op_geth: OpGeth, rollup: Rollup, number: int, block: dict[str, Any]) -> list[str]:
    """Account and storage proofs: two predeploys, the block's first callee, and an account that does not exist."""
    accounts = [L1_BLOCK, MESSAGE_PASSER, "dead" * 10]
    accounts += [item["to"][2:] for item in block["transactions"][1:3] if item["to"] is not None]
    slots = [index.to_bytes(32, "big") for index in (0, 3, 8, 77)]
    found = []
    for account in accounts:
        theirs = op_geth.eth.call("eth_getProof", "0x" + account, ["0x" + slot.hex() for slot in slots], hex(number))
        ours = _load(rollup.proof_json(bytes.fromhex(account), slots, number))
        found += differences(f"proof 0x{account}", ours, theirs)
    return found


def _compare_logs(op_geth: OpGeth, rollup: Rollup, number: int) -> list[str]:
    first = max(0, number - 20)
    theirs = op_geth.eth.call("eth_getLogs", {"fromBlock": hex(first), "toBlock": hex(number)})
    ours = _load(rollup.logs_json(first, number, [], [], 1_000_000))
    found = differences("logs", ours, theirs)
    if theirs:
        address, topic = theirs[0]["address"], theirs[0]["topics"][:1]
        selected = {"fromBlock": hex(first), "toBlock": hex(number), "address": address, "topics": topic}
        wanted = [[bytes.fromhex(item[2:])] for item in topic]
        ours = _load(rollup.logs_json(first, number, [bytes.fromhex(address[2:])], wanted, 1_000_000))
        found += differences("selected logs", ours, op_geth.eth.call("eth_getLogs", selected))
    return found


def _compare_fee_history(op_geth: OpGeth, rollup: Rollup, number: int) -> list[str]:
    count, percentiles = min(number, 10), [0.0, 25.0, 60.0, 100.0]
    theirs = op_geth.eth.call("eth_feeHistory", hex(count), hex(number), percentiles)
    ours = _load(rollup.fee_history_json(count, number, percentiles))
    for answer in (ours, theirs):  # ratios are floats: compare what JSON readers see, to twelve digits
        answer["gasUsedRatio"] = [f"{float(value):.12g}" for value in answer["gasUsedRatio"]]
        if "blobGasUsedRatio" in answer:
            answer["blobGasUsedRatio"] = [f"{float(value):.12g}" for value in answer["blobGasUsedRatio"]]
    return differences("fee history", ours, theirs)


def explain_difference(
    op_geth: OpGeth, rollup: Rollup, block: Block, included: Sequence[Transaction], fork: Fork
) -> str:
    """Lets op-geth build the refused block from the same transactions and says what comes out differently, receipts
    first."""
    number = rollup.head.number
    attributes = block.engine_attributes(fork, [transaction.raw for transaction in included])
    version = 3 if fork == "holocene" else 4
    try:
        built = op_geth.build(rollup.head.parent_hash, attributes, version)
    except RpcError as error:
        return f"op-geth cannot build it either: {error.error}"
    payload = built["executionPayload"]
    ours = json.loads(rollup.execution_payload_json(number)[0])
    lines = differences("payload", ours, {key: payload[key] for key in payload if key in ours})
    status = op_geth.insert(json.dumps(payload).encode(), block.origin.parent_beacon_block_root, version)
    if status["status"] == "VALID":
        op_geth.adopt(bytes.fromhex(payload["blockHash"][2:]))
        theirs = op_geth.eth.call("eth_getBlockReceipts", hex(number))
        ignored = {"blockHash"}
        for index, (left, right) in enumerate(zip(_load(rollup.block_receipts_json(number)), theirs, strict=False)):
            for receipt in (left, right):
                for key in ignored:
                    receipt.pop(key)
                for log in receipt["logs"]:
                    log.pop("blockHash")
            lines += differences(f"receipt {index} (type {right['type']})", left, right)
        lines += _state_differences(op_geth, rollup, number, theirs)
    raws = [raw.hex() for raw in [*block.deposits, *[transaction.raw for transaction in included]]]
    return "\n".join([*lines[:DIFFERENCES_MAX], "transactions:", *[raw[:200] for raw in raws[:40]]])


def _state_differences(op_geth: OpGeth, rollup: Rollup, number: int, receipts: list[dict[str, Any]]) -> list[str]:
    """Accounts that the block names and that differ in nonce, balance, code or storage root."""
    named = {receipt[key] for receipt in receipts for key in ("from", "to", "contractAddress") if receipt.get(key)}
    named |= {log["address"] for receipt in receipts for log in receipt["logs"]}
    named |= {"0x42000000000000000000000000000000000000" + end for end in ("11", "15", "16", "19", "1a", "1b")}
    found = []
    for address in sorted(named):
        theirs = op_geth.eth.call("eth_getProof", address, [], hex(number))
        ours = _load(rollup.proof_json(bytes.fromhex(address[2:]), [], number))
        for answer in (ours, theirs):
            answer.pop("accountProof")
        found += differences(f"account {address}", ours, theirs)
    return found
