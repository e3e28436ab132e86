"""Why a contract refused, in its own words: custom errors decoded with the ABI of the demonstration's contracts."""

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


def explain_failure(failure: dict[str, Any]) -> str:
    """Where and why a bundle failed, in a sentence: `failure` of a simulation, `dropped` of a status."""
    rollup, output = failure["rollupId"], bytes.fromhex(failure["output"][2:])
    if not output:
        return str(failure["sentence"])
    if "cannot be delivered" in failure["sentence"]:
        return f"a message to rollup {rollup} cannot be delivered, {explain(output)}"
    return f"transaction {failure['index'] + 1} of the leg on rollup {rollup} is reverted, {explain(output)}"
