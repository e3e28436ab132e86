"""For any bytes, any JSON and any parameters to any method: an answer in the form of JSON-RPC 2.0, never an internal
error, and a node that goes on.
"""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import plait.rpc.methods  # noqa: F401 - fills the table
from plait.rpc.errors import INTERNAL_ERROR
from plait.rpc.parameters import quantity_of
from plait.rpc.table import METHODS

SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
NOT_HERE = {"eth_sendRawTransactionSync"}
"""Waits by design."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
HEX = st.binary(max_size=40).map(lambda data: "0x" + data.hex())
QUANTITIES = st.integers(0, 2**70).map(hex)
NAMES = st.sampled_from(
    [
        "from",
        "to",
        "data",
        "input",
        "value",
        "gas",
        "gasPrice",
        "nonce",
        "type",
        "accessList",
        "authorizationList",
        "blockHash",
        "blockNumber",
        "fromBlock",
        "toBlock",
        "topics",
        "address",
        "tracer",
        "tracerConfig",
        "balance",
        "code",
        "state",
        "stateDiff",
    ]
)
PLAUSIBLE = st.recursive(
    HEX
    | QUANTITIES
    | st.sampled_from(["latest", "pending", "earliest", "safe", "0x", "", None, True, 0, 1, -1, 1.5])
    | st.binary(min_size=20, max_size=20).map(lambda data: "0x" + data.hex())
    | st.binary(min_size=32, max_size=32).map(lambda data: "0x" + data.hex()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


def ask(node: Any, body: bytes, rollup: int = 901) -> Any:
    dispatcher, endpoint = node.server._dispatcher, node.server._rollups[rollup]
    answer = asyncio.run_coroutine_threadsafe(dispatcher.answer(endpoint, body), node.loop).result(30)
    return None if answer is None else json.loads(answer)


def check(answer: Any) -> None:
    """The form of one answer."""
    assert answer["jsonrpc"] == "2.0"
    assert set(answer) in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
    if "error" in answer:
        error = answer["error"]
        assert isinstance(error["code"], int)
        assert isinstance(error["message"], str)
        assert error["message"]
        assert error["code"] != INTERNAL_ERROR, error


@SETTINGS
@given(body=st.binary(max_size=300))
def test_any_bytes_get_an_answer(node: Any, body: bytes) -> None:
    answer = ask(node, body)
    if answer is not None:
        for one in answer if isinstance(answer, list) else [answer]:
            check(one)


@SETTINGS
@given(value=JSON)
def test_any_json_gets_an_answer(node: Any, value: Any) -> None:
    answer = ask(node, json.dumps(value).encode())
    if answer is not None:
        for one in answer if isinstance(answer, list) else [answer]:
            check(one)


@pytest.mark.parametrize("method", sorted(set(METHODS) - NOT_HERE))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(params=st.lists(PLAUSIBLE | JSON, max_size=4) | JSON)
def test_any_parameters_of_any_method_get_an_answer(node: Any, method: str, params: Any) -> None:
    answer = ask(node, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
    check(answer)
    assert answer["id"] == 1


@SETTINGS
@given(raws=st.lists(st.binary(max_size=200), min_size=1, max_size=30))
def test_any_transactions_get_a_code_and_a_sentence_each(node: Any, raws: list[bytes]) -> None:
    calls = [
        {"jsonrpc": "2.0", "id": place, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
        for place, raw in enumerate(raws)
    ]
    answers = ask(node, json.dumps(calls).encode())
    assert [answer["id"] for answer in answers] == list(range(len(raws)))
    for answer in answers:
        check(answer)
        assert answer["error"]["data"]["code"]


@SETTINGS
@given(place=st.integers(0, 120), byte=st.integers(0, 255), cut=st.integers(0, 120))
def test_a_damaged_transaction_is_refused_or_is_somebody_elses(node: Any, place: int, byte: int, cut: int) -> None:
    raw = bytearray.fromhex(node.signed(9)[2:])
    node.nonces[901, 9] -= 1
    original = bytes(raw)
    raw[place % len(raw)] = byte
    damaged = bytes(raw) if cut % 3 else bytes(raw[:cut])
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + damaged.hex()]}
    answer = ask(node, json.dumps(body).encode())
    check(answer)
    # Whatever was changed, the signature is no longer the funded user's: the recovered sender has nothing to spend.
    assert damaged == original or "error" in answer


@given(number=st.integers(0, 2**64 - 1))
def test_quantities_have_one_form(number: int) -> None:
    assert quantity_of(hex(number)) == number
    for wrong in ("0x0" + hex(number)[2:], hex(number)[2:], hex(number) + " ", " " + hex(number), "-" + hex(number)):
        with pytest.raises(ValueError, match="hex"):
            quantity_of(wrong)
