"""The same wrong calls to a real op-geth and to Plait: same error number, and the same words at the message's begin."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import RollupId
from sim.wallet import Wallet

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance/opgeth"))
from opgeth_node import OpGeth, RpcError, can_build  # type: ignore[import-not-found]

pytestmark = [pytest.mark.opgeth, pytest.mark.skipif(not can_build(), reason="op-geth is not built and Go is missing")]

ZERO, WORD = "0x" + "00" * 20, "0x" + "00" * 32
USER = Wallet(DEVELOPMENT_ACCOUNTS[6].private_key)
GWEI = 10**9


def sign(nonce: int = 0, chain_id: int = 901, **changes: Any) -> str:
    fields: dict[str, Any] = {"to": bytes([7]) * 20, "value": 1, "max_fee_per_gas": 10 * GWEI} | changes
    return "0x" + USER.sign_1559(chain_id, nonce, **fields).hex()


REVERT = "08c379a0" + f"{32:064x}" + f"{2:064x}" + b"no".ljust(32, b"\0").hex()
REVERTING = f"0x60{len(REVERT) // 2:02x}600c60003960{len(REVERT) // 2:02x}6000fd" + REVERT

# Name -> (method, parameters, how many characters of the message must agree; None: up to the first colon)
CALLS: dict[str, tuple[str, list[Any], int | None]] = {
    "method": ("eth_foo", [], 999),
    "too many": ("eth_chainId", [1], 999),
    "missing": ("eth_getBalance", [], 999),
    "no prefix": ("eth_getBalance", ["f39f", "latest"], 18),
    "short address": ("eth_getBalance", ["0x12", "latest"], 50),
    "leading zero": ("eth_getBalance", [ZERO, "0x01"], 999),
    "empty number": ("eth_getBlockByNumber", ["0x", False], 999),
    "large number": ("eth_getBlockByNumber", ["0x" + "f" * 17, False], 999),
    "unknown tag": ("eth_getBlockByNumber", ["newest", False], 999),
    "no such block": ("eth_getBalance", [ZERO, "0xffffff"], 999),
    "no such hash": ("eth_getLogs", [{"blockHash": WORD}], 999),
    "object for a number": ("eth_getBlockByNumber", [{"blockNumber": "0x0"}, False], 999),
    "hash for a number": ("eth_getBlockByNumber", [WORD, False], 999),
    "pending logs": ("eth_getLogs", [{"fromBlock": "earliest", "toBlock": "pending"}], 999),
    "logs beyond head": ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "0xffffff"}], 999),
    "pending filter": ("eth_newFilter", [{"toBlock": "pending"}], 999),
    "filter range": ("eth_newFilter", [{"fromBlock": "0x5", "toBlock": "0x1"}], 26),
    "trace genesis": ("debug_traceBlockByNumber", ["earliest", {"tracer": "callTracer"}], 999),
    "trace beyond": ("debug_traceBlockByNumber", ["0xffffff", {"tracer": "callTracer"}], 999),
    "trace no hash": ("debug_traceBlockByHash", [WORD, {"tracer": "callTracer"}], 999),
    "no authorizations": ("eth_call", [{"to": ZERO, "authorizationList": []}, "latest"], 80),
    "authorized creation": ("eth_call", [{"authorizationList": []}, "latest"], 80),
    "type only": ("eth_sendRawTransaction", ["0x01"], 999),
    "both ranges": ("eth_getLogs", [{"blockHash": WORD, "fromBlock": "0x1"}], 60),
    "topics": ("eth_getLogs", [{"topics": [[]] * 5}], 30),
    "range": ("eth_getLogs", [{"fromBlock": "0x5", "toBlock": "0x1"}], 26),
    "percentiles": ("eth_feeHistory", ["0x1", "latest", [5, 4]], 999),
    "beyond head": ("eth_feeHistory", ["0x1", "0xffffff", []], 25),
    "two prices": ("eth_call", [{"gasPrice": "0x1", "maxFeePerGas": "0x1"}, "latest"], 999),
    "empty transaction": ("eth_sendRawTransaction", ["0x"], 999),
    "filter": ("eth_getFilterChanges", ["0x1"], 999),
    "revert": ("eth_call", [{"input": REVERTING}, "latest"], 999),
    "estimate revert": ("eth_estimateGas", [{"input": REVERTING}], 999),
    "invalid": ("eth_call", [{"input": "0xfe"}, "latest"], 14),
    "not rlp": ("eth_sendRawTransaction", ["0xc0"], 4),
    "other type": ("eth_sendRawTransaction", ["0x05" + "00" * 40], None),
    "other chain": ("eth_sendRawTransaction", [sign(chain_id=5)], None),
    "intrinsic": ("eth_sendRawTransaction", [sign(gas_limit=20_000)], None),
    "block gas": ("eth_sendRawTransaction", [sign(gas_limit=60_000_001)], None),
    "tip": ("eth_sendRawTransaction", [sign(max_fee_per_gas=GWEI, max_priority_fee_per_gas=2 * GWEI)], None),
    "funds": ("eth_sendRawTransaction", [sign(value=10**30)], None),
    "init code": ("eth_sendRawTransaction", [sign(to=b"", data=b"\0" * 49_153, gas_limit=5_000_000)], None),
    "nonce end": ("eth_sendRawTransaction", [sign(2**64 - 1)], None),
}


@pytest.fixture(scope="module")
def op_geth(node: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with OpGeth(node.node.genesis[RollupId(901)], tmp_path_factory.mktemp("op-geth")) as running:
        yield running


def answer(op_geth: Any, method: str, params: list[Any]) -> dict[str, Any]:
    with pytest.raises(RpcError) as caught:
        op_geth.eth.call_raw(method, json.dumps(params))
    error: dict[str, Any] = caught.value.error
    return error


@pytest.mark.parametrize("name", CALLS)
def test_errors_are_those_of_op_geth(name: str, node: Any, op_geth: Any) -> None:
    method, params, length = CALLS[name]
    theirs, ours = answer(op_geth, method, params), node.error(method, *params)
    assert ours["code"] == theirs["code"], (ours, theirs)
    begin = theirs["message"].split(":")[0] if length is None else theirs["message"][:length]
    assert ours["message"].startswith(begin), (ours["message"], theirs["message"])
    if ours["code"] == 3:
        assert ours["data"] == theirs["data"]


ANSWERS: list[tuple[str, list[Any]]] = [
    ("eth_blobBaseFee", []),
    ("eth_getUncleByBlockNumberAndIndex", ["latest", "0x0"]),
    ("eth_getRawTransactionByBlockNumberAndIndex", ["0xffff", "0x0"]),
    ("eth_getHeaderByNumber", ["earliest"]),
    ("eth_feeHistory", ["0x0", "latest", []]),
    ("eth_getProof", [ZERO, None, "earliest"]),
    ("eth_getProof", [ZERO, ["0x3", "0x0", "0x03", WORD], "earliest"]),
    ("eth_call", [{"to": "0x" + "00" * 19 + "04", "data": "0x12", "input": "0x13"}, "latest"]),
]


@pytest.mark.parametrize(("method", "params"), ANSWERS)
def test_answers_are_those_of_op_geth(method: str, params: list[Any], node: Any, op_geth: Any) -> None:
    assert node.call(method, *params) == op_geth.eth.call_raw(method, json.dumps(params))


def test_pool_refusals_are_those_of_op_geth(node: Any, op_geth: Any) -> None:
    # A gap keeps the transactions in both pools: neither decides them.
    waiting = sign(5)
    assert op_geth.eth.call("eth_sendRawTransaction", waiting) == node.call("eth_sendRawTransaction", waiting)
    for raw in (waiting, sign(5, value=2), sign(5, value=3, max_fee_per_gas=12 * GWEI)):
        theirs, ours = answer(op_geth, "eth_sendRawTransaction", [raw]), node.error("eth_sendRawTransaction", raw)
        assert (ours["code"], ours["message"][: len(theirs["message"])]) == (theirs["code"], theirs["message"])
    address = "0x" + USER.address.hex()
    for method in ("txpool_status", "txpool_content", "txpool_inspect"):
        theirs, ours = op_geth.eth.call(method), node.call(method)
        if method == "txpool_content":
            theirs, ours = (
                one["queued"][next(k for k in one["queued"] if k.lower() == address)] for one in (theirs, ours)
            )
        elif method == "txpool_inspect":
            theirs, ours = (next(v for k, v in one["queued"].items() if k.lower() == address) for one in (theirs, ours))
            theirs, ours = ({k: v.lower() for k, v in one.items()} for one in (theirs, ours))
        assert ours == theirs
