"""Calls with overrides, and executions that fail: outputs, traces and sentences equal op-geth's to the letter.

Every case runs its own code through a state override, as `eth_call` and as `debug_traceCall` on the same genesis.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from comparison import differences
from opgeth_node import OpGeth, RpcError, can_build

from plait.limits import RPC_GAS_CAP
from plait.native import NativeError, Rollup, Store
from plait.rollups.embedded.genesis import GenesisSpecification, development_balances, genesis_json
from plait.types import ChainId, Seconds

pytestmark = [pytest.mark.opgeth, pytest.mark.slow]

X = "0x00000000000000000000000000000000000ccccc"
Y = "0x00000000000000000000000000000000000ddddd"
SENDER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WORD = "0x" + "00" * 31 + "07"

RETURN_TOP = "5f5260205ff3"  # PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
STATIC_Y = "5f5f5f5f62 0ddddd 5a fa".replace(" ", "")  # STATICCALL of Y with all gas and no input

OVERRIDES: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "code and balance": ({X: {"code": "0x47" + RETURN_TOP, "balance": "0x77"}}, None),
    "nonce of a creator": ({X: {"code": "0x5f5f5ff0" + RETURN_TOP, "nonce": "0x9"}}, None),
    "state": ({X: {"code": "0x5f54" + RETURN_TOP, "state": {"0x" + "00" * 32: WORD}}}, None),
    "state difference": ({X: {"code": "0x5f54" + RETURN_TOP, "stateDiff": {"0x" + "00" * 32: WORD}}}, None),
    "null and unknown fields": ({X: {"code": "0x47" + RETURN_TOP, "colour": 1, "nonce": None}, Y: None}, None),
    "short key": ({"0x12": {}}, None),
    "not an object": ({X: []}, None),
    "number without quotes": ({X: {"nonce": 1}}, None),
    "leading zeros": ({X: {"balance": "0x01"}}, None),
    "short slot": ({X: {"state": {"0x1": WORD}}}, None),
    "both kinds of state": ({X: {"state": {}, "stateDiff": {}}}, None),
    "code on a precompile": ({"0x" + "00" * 19 + "04": {"code": "0x47" + RETURN_TOP}}, None),
    "moved precompile": ({"0x" + "00" * 19 + "04": {"movePrecompileToAddress": X}}, None),
    "move of no precompile": ({X: {"movePrecompileToAddress": Y}}, None),
    "move to an overridden account": ({"0x" + "00" * 19 + "04": {"movePrecompileToAddress": X}, X: {}}, None),
    "blob base fee": ({X: {"code": "0x4a" + RETURN_TOP}}, {"blobBaseFee": "0x7"}),
    "number": ({X: {"code": "0x43" + RETURN_TOP}}, {"number": "0x99"}),
    "time, in capitals": ({X: {"code": "0x42" + RETURN_TOP}}, {"TIME": "0x6789abcd"}),
    "gas limit": ({X: {"code": "0x45" + RETURN_TOP}}, {"gasLimit": "0x123456"}),
    "fee recipient": ({X: {"code": "0x41" + RETURN_TOP}}, {"feeRecipient": Y}),
    "random": ({X: {"code": "0x44" + RETURN_TOP}}, {"prevRandao": WORD}),
    "base fee of a free call": ({X: {"code": "0x48" + RETURN_TOP}}, {"baseFeePerGas": "0x5"}),
    "difficulty": ({X: {"code": "0x44" + RETURN_TOP}}, {"difficulty": "0x5"}),
    "withdrawals": ({}, {"withdrawals": []}),
    "beacon root": ({}, {"beaconRoot": WORD}),
    "malformed number": ({}, {"number": 7}),
}


def _creation(returned: str) -> str:
    """Code that creates a contract with init code `returned` (at most 32 bytes) and returns its address."""
    size = len(returned) // 2
    return f"{0x5F + size:02x}{returned}5f52{size:02x}".replace("5f52", "5f5260") + f"60{32 - size:02x}5ff0{RETURN_TOP}"


HALTS: dict[str, tuple[str, str]] = {  # code of X, code of Y
    "unknown opcode": ("0c", ""),
    "INVALID": ("fe", ""),
    "CLZ": ("5f1e", ""),
    "opcode with a name only": ("e4", ""),
    "stack underflow": ("01", ""),
    "stack underflow of a swap": ("5f5f92", ""),
    "stack underflow of a dup": ("5f5f82", ""),
    "stack overflow": ("5b5f600056", ""),
    "invalid jump": ("600056", ""),
    "return data": ("60016000600 03e".replace(" ", ""), ""),
    "sentry": ("5f5f5f5f5f620ddddd6108fcf1", "60015f55"),
    "out of gas": ("5b600056", ""),
    "memory": ("67ffffffffffffffff51", ""),
    "memory of a huge offset": ("7f" + "ff" * 32 + "51", ""),
    "memory that has no price": ("642fffffffff51", ""),
    "input of a huge size": ("5f5f67ffffffffffffffff5f5f620ddddd5af1", ""),
    "copy of a huge size": ("7f" + "ff" * 32 + "5f5f37", ""),
    "write in a static call": (STATIC_Y, "5f5f55"),
    "selfdestruct in a static call": (STATIC_Y, "33ff"),
    "transient write in a static call": (STATIC_Y, "5f5f5d"),
    "log in a static call": (STATIC_Y, "5f5fa0"),
    "value in a static call": (STATIC_Y, "5f5f5f5f60015f5af1"),
    "create in a static call": (STATIC_Y, "5f5f5ff0"),
    "value without balance": ("5f5f5f5f6001620ddddd5af1" + RETURN_TOP, ""),
    "creation of 0xef": (_creation("60ef5f5360015ff3"), ""),
    "creation of a large code": (_creation("6160015ff3"), ""),
    "creation of an unpayable code": ("5f5f5f5f5f620ddddd6170fff1", _creation("6120005ff3")),
    "creation with large init code": ("61c0015f5ff0", ""),
    "collision": (_creation("5f5ff3")[:-12] + "50" + "5f5f5f5ff5505f5f5f5ff5" + RETURN_TOP, ""),
    "nested creation that fails": (_creation("0c"), ""),
    "selfdestruct after a failed call": ("5f5f5f5f620ddddd5afa33ff", "fe"),
}

PRECOMPILES: dict[str, tuple[int, str]] = {
    "power of a huge exponent": (0x05, "00" * 31 + "01" + "ff" * 32 + "00" * 31 + "01" + "ff" * 32),
    "power of huge numbers": (0x05, "ff" * 96),
    "blake2f, short": (0x09, "01"),
    "blake2f, bad flag": (0x09, "00" * 212 + "02"),
    "point evaluation, short": (0x0A, "01"),
    "point evaluation, version": (0x0A, "00" * 192),
    "pairing, odd size": (0x08, "00" * 191),
    "pairing, too many": (0x08, "00" * 192 * 428),
    "addition, no point": (0x06, "00" * 31 + "01" + "00" * 31 + "01"),
    "g1 add, short": (0x0B, "00"),
    "g1 add, padding": (0x0B, "01" * 256),
    "g1 msm, none": (0x0C, ""),
    "g1 add, no point": (0x0B, ("00" * 63 + "01") * 4),
    "g2 add, short": (0x0D, "00"),
    "g2 msm, odd": (0x0E, "00" * 100),
    "pairing check, odd": (0x0F, "00" * 383),
    "map to g1, short": (0x10, "00"),
    "map to g1, padding": (0x10, "01" * 64),
    "map to g2, short": (0x11, "00"),
}


@pytest.fixture(autouse=True, scope="module")
def _needs_op_geth() -> None:
    if not can_build():
        pytest.skip("op-geth is not in the cache and Go is not installed to build it")


Sides = tuple[OpGeth, Rollup]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """op-geth and Plait's core on one genesis."""
    genesis = genesis_json(
        GenesisSpecification(
            chain_id=ChainId(901), timestamp=Seconds(1_700_000_000), fork="jovian", balances=development_balances()
        )
    )
    with OpGeth(genesis, tmp_path_factory.mktemp("op-geth") / "data") as op_geth:
        yield op_geth, Rollup.from_genesis(genesis, Store.in_memory())


def theirs(op_geth: OpGeth, method: str, *params: Any) -> Any:
    try:
        return op_geth.eth.call(method, *params)
    except RpcError as error:
        return "refused as an argument" if error.error["code"] == -32602 else error.error["message"]


def ours_of(failure: NativeError) -> str:
    return "refused as an argument" if failure.code.endswith("_malformed") else str(failure)


def compare(sides: Sides, request: dict[str, Any], state: Any, block: Any, **tracer_config: bool) -> list[str]:
    """Differences of the call and of its trace."""
    op_geth, rollup = sides
    asked, changed = json.dumps(request).encode(), json.dumps(state).encode()
    changed_block = None if block is None else json.dumps(block).encode()
    try:
        result = rollup.call(asked, 0, changed, changed_block, RPC_GAS_CAP)
        ours: Any = "0x" + result.output.hex() if result.success else result.error
    except NativeError as failure:
        ours = ours_of(failure)
    found = differences("eth_call", ours, theirs(op_geth, "eth_call", request, "0x0", state, block))
    options = {"tracer": "callTracer", "tracerConfig": tracer_config, "stateOverrides": state, "blockOverrides": block}
    try:
        ours = json.loads(rollup.trace_call_json(asked, 0, json.dumps(options).encode(), RPC_GAS_CAP))
    except NativeError as failure:
        ours = ours_of(failure)
    return found + differences("debug_traceCall", ours, theirs(op_geth, "debug_traceCall", request, "0x0", options))


@pytest.mark.parametrize("name", OVERRIDES)
def test_overrides_change_calls_and_traces_as_in_op_geth(sides: Sides, name: str) -> None:
    """Applied, ignored and refused overrides are the same on both sides, for calls and for traces."""
    state, block = OVERRIDES[name]
    target = "0x" + "00" * 19 + "04" if name == "code on a precompile" else X
    assert compare(sides, {"from": SENDER, "to": target, "input": "0x1234"}, state, block) == []


@pytest.mark.parametrize("name", HALTS)
def test_failures_are_worded_as_in_op_geth(sides: Sides, name: str) -> None:
    """A failure of the outermost or of an inner frame is told in the same sentence."""
    outer, inner = HALTS[name]
    state = {X: {"code": "0x" + outer}, Y: {"code": "0x" + inner}}
    request = {"from": SENDER, "to": X, "gas": "0x100000"}
    assert compare(sides, request, state, None) == []
    assert compare(sides, request, state, None, onlyTopCall=True) == []


@pytest.mark.parametrize("code", ["0c", "60ef5f5360015ff3", "6160015ff3", "61600 05ff3".replace(" ", "")])
def test_failed_creations_are_worded_as_in_op_geth(sides: Sides, code: str) -> None:
    """A creation that fails at the top is told in the same sentence, also by the gas estimate."""
    request = {"from": SENDER, "input": "0x" + code, "gas": "0x100000"}
    assert compare(sides, request, {}, None) == []
    op_geth, rollup = sides
    try:
        ours: Any = hex(rollup.estimate_gas(json.dumps(request).encode(), 0, None, RPC_GAS_CAP))
    except NativeError as failure:
        ours = str(failure)
    assert ours == theirs(op_geth, "eth_estimateGas", request, "0x0")


@pytest.mark.parametrize("name", PRECOMPILES)
def test_precompiles_refuse_input_in_op_geths_words(sides: Sides, name: str) -> None:
    """Bad input of a precompile is told in the same sentence."""
    number, data = PRECOMPILES[name]
    request = {"from": SENDER, "to": f"0x{number:040x}", "input": "0x" + data}
    assert compare(sides, request, {}, None) == []


@pytest.mark.parametrize("access_list", [{}, [{"address": X}], [{"address": X, "storageKeys": ["0x1"]}]])
def test_a_malformed_access_list_is_refused_as_an_argument(sides: Sides, access_list: Any) -> None:
    """Both sides name the argument; ours without text of a parser."""
    request = {"to": X, "accessList": access_list}
    assert compare(sides, request, {}, None) == []
    with pytest.raises(NativeError) as caught:
        sides[1].call(json.dumps(request).encode(), 0, None, None, RPC_GAS_CAP)
    assert str(caught.value) == 'the field "accessList" of the call object cannot be read'
