"""A real anvil with the checked-in contracts: every call is a transaction that is mined, refused ones included."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi import decode
from eth_utils import keccak
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.types import TxReceipt

from plait.testnet.layout import free_ports

REPOSITORY = Path(__file__).resolve().parents[3]
ARTIFACTS = REPOSITORY / "plait" / "rollups" / "artifacts"
GAS_TABLE = REPOSITORY / "docs" / "opstack" / "contracts.md"
sys.path.insert(0, str(REPOSITORY / "tools"))
from build_tools import foundry_path  # noqa: E402  (the path is only now there)

CHAIN_ID = 900
GAS = 15_000_000
"""Below EIP-7825's bound of a transaction, and more than anything here takes."""
START_SECONDS_MAX = 20
MINED_SECONDS_MAX = 60
NUDGE_SECONDS = 2
GAS_TOLERANCE = 0.03
"""Hashes and signatures have now more and now fewer zero bytes."""


@cache
def artifact(name: str) -> dict[str, Any]:
    """A checked-in contract."""
    loaded: dict[str, Any] = json.loads((ARTIFACTS / f"{name}.json").read_text())
    return loaded


@cache
def known_errors() -> dict[bytes, tuple[str, tuple[str, ...]]]:
    """Name and argument types of every error that a contract of ours declares, by selector."""
    found = {
        keccak(text="Error(string)")[:4]: ("Error", ("string",)),
        keccak(text="Panic(uint256)")[:4]: ("Panic", ("uint256",)),
    }
    for path in ARTIFACTS.glob("*.json"):
        for entry in json.loads(path.read_text())["abi"]:
            if entry["type"] == "error":
                types = tuple(_type_of(part) for part in entry["inputs"])
                found[keccak(text=f"{entry['name']}({','.join(types)})")[:4]] = (entry["name"], types)
    return found


@cache
def documented_gas() -> dict[str, int]:
    """Gas by action, as docs/opstack/contracts.md has it."""
    rows = re.findall(r"^\| (.+?) \| ([\d,]+) \|$", GAS_TABLE.read_text(), re.MULTILINE)
    return {what: int(gas.replace(",", "")) for what, gas in rows}


def _type_of(part: dict[str, Any]) -> str:
    if not part["type"].startswith("tuple"):
        return str(part["type"])
    inner = ",".join(_type_of(component) for component in part["components"])
    return f"({inner}){part['type'][len('tuple') :]}"


class L1:
    """An anvil process and what tests do with it."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.deployment_gas: dict[str, int] = {}
        self._log = open(directory / "anvil.log", "w")  # noqa: SIM115  (closed in stop)
        self._process = subprocess.Popen(
            [str(foundry_path("anvil")), "--chain-id", str(CHAIN_ID), "--port", str(self.port), *flags],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.web3 = Web3(HTTPProvider(self.url))
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.web3.is_connected():
            assert self._process.poll() is None, "anvil ended at once"
            assert time.monotonic() < deadline, "anvil did not start"
            time.sleep(0.05)
        self.accounts = self.web3.eth.accounts

    def stop(self) -> None:
        """Ends anvil."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def rpc(self, method: str, *params: Any) -> Any:
        """A JSON-RPC call; asserts that it is answered without error."""
        answer = self.web3.provider.make_request(method, params)  # type: ignore[arg-type]
        assert "error" not in answer, answer
        return answer["result"]

    def deploy(self, name: str, *arguments: Any, sender: int = 0) -> Contract:
        """Deploys a checked-in contract."""
        loaded = artifact(name)
        factory = self.web3.eth.contract(abi=loaded["abi"], bytecode=loaded["bytecode"])
        receipt = self._mined(factory.constructor(*arguments).build_transaction(self._terms(sender, 0)))
        assert receipt["status"] == 1, (
            f"{name} was not deployed: {self.reason(factory.constructor(*arguments), sender)}"
        )
        self.deployment_gas[name] = receipt["gasUsed"]
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=loaded["abi"])

    def at(self, name: str, address: str) -> Contract:
        """A deployed contract by its artifact's interface."""
        return self.web3.eth.contract(address=self.web3.to_checksum_address(address), abi=artifact(name)["abi"])

    def send(self, call: Any, *, sender: int = 0, value: int = 0, what: str = "") -> TxReceipt:
        """A transaction that must succeed; `what` names its row in the documented table of gas, which must be right."""
        receipt = self._mined(call.build_transaction(self._terms(sender, value)))
        assert receipt["status"] == 1, f"refused: {self.reason(call, sender, value)}"
        if what:
            self.check_gas(what, receipt["gasUsed"])
        return receipt

    def check_gas(self, what: str, used: int) -> None:
        """Asserts that the documentation says what an action takes."""
        documented = documented_gas()
        assert what in documented, f"{GAS_TABLE.name} has no row for: {what} | {used:,}"
        assert abs(used - documented[what]) <= GAS_TOLERANCE * documented[what], f"{what} takes {used:,} gas"

    def refused(self, call: Any, *, sender: int = 0, value: int = 0) -> tuple[str, tuple[Any, ...]]:
        """A transaction that must revert; returns the error's name and arguments."""
        receipt = self._mined(call.build_transaction(self._terms(sender, value)))
        assert receipt["status"] == 0, "the transaction went through"
        return self.reason(call, sender, value)

    def reason(self, call: Any, sender: int = 0, value: int = 0) -> tuple[str, tuple[Any, ...]]:
        """Why a call reverts, on the latest state."""
        transaction = call.build_transaction(self._terms(sender, value))
        answer = self.web3.provider.make_request("eth_call", [_hex(transaction), "latest"])  # type: ignore[arg-type]
        assert "error" in answer, "the call went through"
        data = bytes.fromhex(answer["error"].get("data", "0x")[2:])
        if not data:
            return ("", (answer["error"]["message"],))
        name, types = known_errors()[data[:4]]
        return name, decode(types, data[4:])

    def raw(self, transaction: dict[str, Any]) -> TxReceipt:
        """A transaction that is not a contract's function."""
        return self._mined(transaction)

    def warp(self, seconds: int) -> None:
        """Lets time pass until the next block."""
        self.rpc("evm_increaseTime", seconds)
        self.rpc("evm_mine")

    def now(self) -> int:
        """Timestamp of the latest block."""
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def _terms(self, sender: int, value: int) -> dict[str, Any]:
        return {"from": self.accounts[sender], "value": value, "gas": GAS, "gasPrice": 200 * 10**9}

    def _mined(self, transaction: dict[str, Any]) -> TxReceipt:
        nonce = self.web3.eth.get_transaction_count(transaction["from"], "latest")
        sent = self.rpc("eth_sendTransaction", {**_hex(transaction), "nonce": hex(nonce)})
        asked = time.monotonic()
        while self.rpc_or_none("eth_getTransactionReceipt", sent) is None:
            assert time.monotonic() < asked + MINED_SECONDS_MAX, f"transaction {sent} was not mined"
            time.sleep(0.01)
            if (
                time.monotonic() > asked + NUDGE_SECONDS
            ):  # anvil mined while it reverted to a snapshot and forgot this one
                self.rpc("evm_mine")
        return self.web3.eth.get_transaction_receipt(sent)

    def rpc_or_none(self, method: str, *params: Any) -> Any:
        """As `rpc`, where null is an answer."""
        return self.web3.provider.make_request(method, params).get("result")  # type: ignore[arg-type]


def _hex(transaction: dict[str, Any]) -> dict[str, Any]:
    return {
        name: hex(part) if isinstance(part, int) else part
        for name, part in transaction.items()
        if name not in ("chainId", "nonce") and part != b""
    }
