"""Compares calls, gas estimates, access lists and traces of both sides on the same head."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from comparison import differences
from opgeth_node import OpGeth, RpcError
from random_transactions import Call, Generator

from plait.limits import RPC_GAS_CAP
from plait.native import NativeError, Rollup

CALLS_PER_BLOCK = 12

# Failures whose text need not be op-geth's to the letter: (start of ours, start of op-geth's). All else must be equal.
SAME_FAILURE = [
    ("point is not on curve", ""),  # a bad point given to a precompile; op-geth says which rule it breaks
    ("invalid point: not on curve", ""),
    ("out of gas", "out of gas"),  # op-geth appends which step of the price was not paid; ours does for some steps
]


def level(ours: Any, theirs: Any) -> None:
    """Makes texts of failures equal in place where SAME_FAILURE says that they mean the same."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() & theirs.keys():
            left, right = ours[key], theirs[key]
            if key not in ("error", "message"):
                level(left, right)
            elif any(str(left).startswith(a) and str(right).startswith(b) for a, b in SAME_FAILURE):
                ours[key] = right
    elif isinstance(ours, list) and isinstance(theirs, list):
        for left, right in zip(ours, theirs, strict=False):
            level(left, right)


def levelled(what: str, ours: Any, theirs: Any) -> list[str]:
    """Differences that remain after `level`."""
    level(ours, theirs)
    return differences(what, ours, theirs)


def _request(random: Random, call: Call, sender: bytes) -> dict[str, Any]:
    """A call's JSON, with or without its optional fields."""
    fields: dict[str, Any] = {"from": "0x" + sender.hex(), "input": "0x" + call.data.hex()}
    if call.to is not None:
        fields["to"] = "0x" + call.to.hex()
    if call.value:
        fields["value"] = hex(call.value)
    if random.randrange(2):
        fields["gas"] = hex(call.gas)
    return fields


def compare_calls(op_geth: OpGeth, rollup: Rollup, generator: Generator, number: int) -> list[str]:
    """Differences of `CALLS_PER_BLOCK` random calls at block `number`, each asked in four ways."""
    random = Random(number)
    found = []
    makers = [maker for _, label, maker in generator.makers if label not in ("authorization", "input limit")]
    nonces = dict(generator.wallet.nonces)
    for _ in range(CALLS_PER_BLOCK):
        call = random.choice(makers)()
        request = _request(random, call, random.choice(generator.wallet.senders))
        found += _compare_call(op_geth, rollup, request, number)
        found += _compare_estimate(op_geth, rollup, request, number)
        found += _compare_access_list(op_geth, rollup, request, number)
        found += _compare_trace(op_geth, rollup, request, number)
    generator.wallet.nonces = nonces
    return found


def _ask(op_geth: OpGeth, method: str, *params: Any) -> tuple[Any, dict[str, Any] | None]:
    try:
        return op_geth.eth.call(method, *params), None
    except RpcError as error:
        return None, error.error


def _compare_call(op_geth: OpGeth, rollup: Rollup, request: dict[str, Any], number: int) -> list[str]:
    answer, error = _ask(op_geth, "eth_call", request, hex(number))
    what = f"eth_call {json.dumps(request)[:300]}"
    try:
        result = rollup.call(json.dumps(request).encode(), number, None, None, RPC_GAS_CAP)
    except NativeError as failure:
        return [] if error is not None else [f"{what}: we fail with {failure}, op-geth answers {answer}"]
    if error is None:
        return differences(what, "0x" + result.output.hex() if result.success else result.error, answer)
    ours = {"message": result.error}
    theirs = {"message": error["message"]}
    if "data" in error:
        ours["data"], theirs["data"] = "0x" + result.output.hex(), error["data"]
    return levelled(what, ours, theirs)


def _compare_estimate(op_geth: OpGeth, rollup: Rollup, request: dict[str, Any], number: int) -> list[str]:
    answer, error = _ask(op_geth, "eth_estimateGas", request, hex(number))
    what = f"eth_estimateGas {json.dumps(request)[:300]}"
    try:
        ours: Any = hex(rollup.estimate_gas(json.dumps(request).encode(), number, None, RPC_GAS_CAP))
    except NativeError as failure:
        if error is None:
            return [f"{what}: we fail with {failure}, op-geth answers {answer}"]
        data = "0x" + failure.data.hex() if failure.code == "execution_reverted" else None  # type: ignore[attr-defined]
        ours = {"message": str(failure.args[0]), "data": data}
        return levelled(what, ours, {"message": error["message"], "data": error.get("data")})
    return differences(what, ours, answer if error is None else error)


def _compare_access_list(op_geth: OpGeth, rollup: Rollup, request: dict[str, Any], number: int) -> list[str]:
    request = {**request, "gasPrice": hex(10**12)}  # without one op-geth suggests one, and GASPRICE tells code of it
    answer, error = _ask(op_geth, "eth_createAccessList", request, hex(number))
    what = f"eth_createAccessList {json.dumps(request)[:300]}"
    try:
        ours = json.loads(rollup.access_list_json(json.dumps(request).encode(), number, RPC_GAS_CAP))
    except NativeError as failure:
        return (
            [] if error is not None else [f"{what}: we fail with {failure}, op-geth answers {json.dumps(answer)[:200]}"]
        )
    if error is not None:
        return [f"{what}: {json.dumps(ours)[:200]}, op-geth fails: {error}"]
    for side in (ours, answer):  # the order of addresses and keys is that of a hash map on both sides
        for entry in side["accessList"]:
            entry["storageKeys"].sort()
        side["accessList"].sort(key=lambda entry: str(entry["address"]))
    return levelled(what, ours, answer)


def _compare_trace(op_geth: OpGeth, rollup: Rollup, request: dict[str, Any], number: int) -> list[str]:
    options = {"tracer": "callTracer"}
    answer, error = _ask(op_geth, "debug_traceCall", request, hex(number), options)
    what = f"debug_traceCall {json.dumps(request)[:300]}"
    try:
        answered = rollup.trace_call_json(
            json.dumps(request).encode(), number, json.dumps(options).encode(), RPC_GAS_CAP
        )
    except NativeError as failure:
        return (
            [] if error is not None else [f"{what}: we fail with {failure}, op-geth answers {json.dumps(answer)[:200]}"]
        )
    return levelled(what, json.loads(answered), answer if error is None else error)


def compare_block_traces(op_geth: OpGeth, rollup: Rollup, number: int) -> list[str]:
    """Differences of the call traces of every transaction of block `number`."""
    found = []
    options = {"tracer": "callTracer"}
    for item in op_geth.eth.call("debug_traceBlockByNumber", hex(number), options):
        identity = item["txHash"]
        ours = rollup.trace_transaction_json(bytes.fromhex(identity[2:]), json.dumps(options).encode())
        found += levelled(f"debug_traceTransaction {identity}", json.loads(ours or b"null"), item["result"])
    return found
