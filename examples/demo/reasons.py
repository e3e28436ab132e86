"""Why a contract refused, in its own words: custom errors decoded with the ABI of the demonstration's contracts."""

import re
from typing import Any

from eth_abi.abi import decode
from web3 import Web3

from examples.demo.show import UNIT, amount
from plait.rollups.contracts import artifact

CONTRACTS = ("DemoCoin", "DemoExchange", "OptionDesk", "RemoteAccount")


def explain(output: bytes) -> str:
    """Revert data as a call of the error with its arguments, such as `OutputTooLow(amountOut: 9,790.10, ...)`."""
    for name in CONTRACTS:
        for entry in artifact(name).abi:
            types = [part["type"] for part in entry.get("inputs", ())]
            if entry["type"] == "error" and output[:4] == Web3.keccak(text=f"{entry['name']}({','.join(types)})")[:4]:
                values = zip(entry["inputs"], decode(types, output[4:]), strict=True)
                said = ", ".join(f"{part['name']}: {_value(value)}" for part, value in values)
                return f"{entry['name']}({said})"
    return "0x" + output.hex()


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f"{value[:6]}…{value[-4:]}"
    return amount(value) if value > UNIT // 1_000 else str(value)


def explain_failure(simulated: dict[str, Any]) -> str:
    """Where and why a simulated bundle fails, in a sentence."""
    failure = simulated["failure"]
    if failure.get("output", "0x") != "0x":
        output = bytes.fromhex(failure["output"][2:])
        return f"a message to rollup {failure['rollupId']} cannot be delivered, {explain(output)}"
    for leg in simulated["legs"]:
        if leg["rollupId"] == failure["rollupId"] and failure["index"] is not None:
            ran = leg["transactions"]
            if failure["index"] < len(ran) and ran[failure["index"]]["status"] == "reverted":
                output = bytes.fromhex(ran[failure["index"]]["output"][2:])
                number = f"{failure['index'] + 1} of {len(ran)}"
                return f"transaction {number} on rollup {failure['rollupId']} is reverted, {explain(output)}"
    return re.sub(r"0x([0-9a-f]{4})[0-9a-f]{56}([0-9a-f]{4})", r"0x\1…\2", failure["sentence"])
