"""Foundry's cast against a Plait rollup: every step of tests/e2e/test_clients.py that cast has a command for.

One JSON line per step; steps without a command print null and the reason. Started by that test. The key is one of the
public development keys: cast takes keys as arguments only.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
ARTIFACTS = REPOSITORY / "plait" / "rollups" / "artifacts"
EMPTY_ACCOUNT = "0x" + "e0" * 20
OVERRIDDEN_CODE = "0x602a60005260206000f3"
CANONICAL = {
    "nonce too low": "nonce too low",
    "insufficient funds": "insufficient funds",
    "replacement transaction underpriced": "replacement transaction underpriced",
    "intrinsic gas too low": "intrinsic gas too low",
    "invalid chain id": "invalid chain id",
    "invalid sender": "invalid chain id",
    "method not found": "method not found",
    "not exist/is not available": "method not found",
}


def emit(step: str, value: Any) -> None:
    print(json.dumps({"step": step, "value": value}), flush=True)


def emit_unsupported(step: str, reason: str) -> None:
    print(json.dumps({"step": step, "value": None, "unsupported": reason}), flush=True)


class CastError(Exception):
    """cast ended with an error; the text is what it said."""


class Cast:
    def __init__(self, program: str, http: str, ws: str, key: str) -> None:
        self.program, self.http, self.ws, self.key = program, http, ws, key
        self.address = self.run("wallet", "address", "--private-key", key)

    def run(self, *arguments: str) -> str:
        """Standard output of a cast command that needs no node."""
        result = subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=90, check=False)
        if result.returncode != 0:
            raise CastError(result.stderr.strip() or result.stdout.strip())
        return result.stdout.strip()

    def ask(self, command: str, *arguments: str) -> str:
        return self.run(command, "--rpc-url", self.http, *arguments)

    def json(self, command: str, *arguments: str) -> Any:
        return json.loads(self.ask(command, "--json", *arguments))

    def rpc(self, method: str, *params: Any) -> Any:
        return json.loads(self.ask("rpc", "--raw", method, json.dumps(list(params))))

    def number(self, command: str, *arguments: str) -> int:
        return int(self.ask(command, *arguments).split()[0], 0)

    def send(self, *arguments: str) -> Any:
        """Receipt of a transaction."""
        return self.json("send", "--private-key", self.key, "--poll-interval", "1", *arguments)

    def send_async(self, *arguments: str) -> str:
        return self.ask("send", "--private-key", self.key, "--async", *arguments).split()[-1]

    def refused(self, *arguments: str) -> str:
        """The reason the node refuses a transaction signed with just these fields."""
        try:
            raw = self.ask("mktx", "--private-key", self.key, *arguments)
            self.ask("publish", "--async", raw)
        except CastError as error:
            return classify(str(error))
        return "accepted"

    def wait(self, identity: str) -> Any:
        for _ in range(300):
            receipt = self.rpc("eth_getTransactionReceipt", identity)
            if receipt is not None:
                return receipt
            time.sleep(0.2)
        raise CastError(f"no receipt of {identity} within a minute")


def classify(text: str) -> str:
    for fragment, name in CANONICAL.items():
        if fragment in text.lower():
            return name
    return f"unrecognised: {text[:300]}"


def load(name: str) -> dict[str, Any]:
    artifact: dict[str, Any] = json.loads((ARTIFACTS / f"{name}.json").read_text())
    return artifact


def status(receipt: dict[str, Any]) -> int:
    return int(receipt["status"], 16)


def read_steps(c: Cast) -> None:
    while c.number("block-number") < 5:
        time.sleep(0.2)
    emit("chain_id", c.number("chain-id"))
    emit("network_version", c.rpc("net_version"))
    emit("syncing", c.rpc("eth_syncing"))
    emit("client_version", len(c.ask("client")) > 0)
    genesis = c.json("block", "0")
    emit("genesis_block", [int(genesis["number"], 16), len(genesis["transactions"]), int(genesis["baseFeePerGas"], 16)])
    emit("empty_balance", c.ask("balance", "0x" + "e1" * 20))
    emit("funded_balance", c.number("balance", c.address) > 10**18)
    emit("gas_price", c.number("gas-price") >= 1)
    history = c.rpc("eth_feeHistory", "0x4", "latest", [25, 75])
    reward = history["reward"]
    emit("fee_history", [len(history["baseFeePerGas"]), len(history["gasUsedRatio"]), len(reward), len(reward[0])])
    block = c.json("block", "latest")
    emit("block_lookup", c.json("block", block["hash"])["number"] == block["number"])
    emit("pending_block", c.json("block", "pending")["number"] is not None)


def token_steps(c: Cast) -> str:
    arguments = c.run("abi-encode", "f(string,string)", "Plait Test", "PTT")
    receipt = c.send("--create", load("DemoToken")["bytecode"] + arguments[2:])
    token = receipt["contractAddress"]
    emit("deploy_token", [status(receipt), c.ask("codehash", token)])
    name = c.ask("call", token, "name()(string)").strip('"')
    symbol = c.ask("call", token, "symbol()(string)").strip('"')
    emit("token_metadata", [name, symbol, c.number("call", token, "decimals()(uint8)")])
    minted = c.send(token, "mint(address,uint256)", c.address, "1000")
    emit("mint", [status(minted), len(minted["logs"]), minted["logs"][0]["topics"][0]])
    sent = c.send(token, "transfer(address,uint256)(bool)", EMPTY_ACCOUNT, "250")
    emit("transfer", [status(sent), str(int(sent["logs"][0]["data"], 16))])
    balances = [
        c.ask("call", token, "balanceOf(address)(uint256)", who).split()[0] for who in (c.address, EMPTY_ACCOUNT)
    ]
    emit("token_balances", balances)
    transfers = "Transfer(address indexed,address indexed,uint256)"
    logs = c.json("logs", "--from-block", str(int(receipt["blockNumber"], 16)), "--address", token, transfers)
    emit("logs_query", len(logs))
    emit("estimate_transfer", c.number("estimate", "--from", c.address, EMPTY_ACCOUNT, "--value", "1"))
    estimate = c.number("estimate", "--from", c.address, token, "transfer(address,uint256)", EMPTY_ACCOUNT, "1")
    emit("estimate_contract", 21_000 < estimate < 100_000)
    receipts = c.rpc("eth_getBlockReceipts", sent["blockNumber"])
    block = c.rpc("eth_getBlockByNumber", sent["blockNumber"], False)
    emit("block_receipts", len(receipts) == len(block["transactions"]))
    return str(token)


def revert_data(c: Cast, bench: str, *call: str) -> str:
    """Data of a reverted call, from cast's message."""
    try:
        c.ask("call", bench, *call)
    except CastError as error:
        found = re.search(r"data: \"(0x[0-9a-f]+)\"", str(error))
        return found.group(1) if found else f"no data: {error}"
    return "succeeded"


def workbench_steps(c: Cast) -> str:
    receipt = c.send("--create", load("Workbench")["bytecode"])
    bench = str(receipt["contractAddress"])
    emit("deploy_workbench", status(receipt))
    reason = revert_data(c, bench, "revertReason(string)", "not today")
    decoded = c.run("decode-error", "--sig", "Error(string)", reason) if reason.startswith("0x08c379a0") else reason
    emit("revert_reason", decoded.strip('"'))
    emit("revert_custom", revert_data(c, bench, "revertCustom(uint256)", "7")[:74])
    emit("revert_panic", revert_data(c, bench, "panic(uint256)", "0"))
    try:
        c.ask("estimate", bench, "revertReason(string)", "not today")
        emit("estimate_revert", "succeeded")
    except CastError as error:
        emit("estimate_revert", "not today" if "not today" in str(error) else str(error))
    c.send(bench, "count()")
    emit("storage", c.number("storage", bench, "1"))
    proof = c.json("proof", bench, "0x" + "00" * 31 + "01")
    emit("proof", [len(proof["accountProof"]) > 0, int(proof["storageProof"][0]["value"], 16)])
    access = c.json("access-list", "--from", c.address, bench, "count()")
    entries = access.get("accessList", access) if isinstance(access, dict) else access
    own = [entry for entry in entries if entry["address"].lower() == bench.lower()]
    emit("create_access_list", sum(len(entry["storageKeys"]) for entry in own))
    failed = c.wait(c.send_async("--gas-limit", "100000", bench, "revertPlain()"))
    emit("reverted_transaction", status(failed))
    override = {EMPTY_ACCOUNT: {"code": OVERRIDDEN_CODE}}
    emit("state_override", int(c.rpc("eth_call", {"to": EMPTY_ACCOUNT}, "latest", override), 16))
    return bench


def fresh_account(c: Cast) -> tuple[str, str]:
    """Address and key of a new account."""
    made = json.loads(c.run("wallet", "new", "--json"))
    account = made[0] if isinstance(made, list) else made
    return account["address"], account["private_key"]


def transaction_steps(c: Cast, bench: str) -> None:
    target, _ = fresh_account(c)
    nonce = c.number("nonce", c.address)
    receipt = c.send(target, "--value", "12345")
    emit("value_transfer", [status(receipt), c.ask("balance", target)])
    sent = c.json("tx", receipt["transactionHash"])
    values = [int(sent[key], 16) for key in ("type", "nonce", "value")]
    emit("transaction_fields", [values[0], values[1] == nonce, str(values[2]), sent["to"].lower() == target.lower()])
    legacy = c.send("--legacy", target, "--value", "1")
    emit("legacy", [int(legacy["type"], 16), status(legacy)])
    entries = json.dumps([{"address": bench, "storageKeys": ["0x" + "00" * 32]}])
    listed = c.send("--legacy", "--access-list", entries, "--gas-limit", "60000", target)
    emit("access_list", [int(listed["type"], 16), status(listed)])
    authority, key = fresh_account(c)
    chain = str(c.number("chain-id"))
    signed = c.run("wallet", "sign-auth", bench, "--private-key", key, "--nonce", "0", "--chain", chain)
    done = c.send("--auth", signed, "--gas-limit", "200000", EMPTY_ACCOUNT)
    emit("set_code", [status(done), c.ask("code", authority)[:8]])


def refusal_steps(c: Cast) -> None:
    nonce = c.number("nonce", c.address)
    base = c.number("base-fee") * 2 + 10**9
    fees = ("--gas-limit", "21000", "--gas-price", str(base), "--priority-gas-price", str(10**9), EMPTY_ACCOUNT)
    emit("nonce_too_low", c.refused("--nonce", str(nonce - 1), *fees))
    emit("insufficient_funds", c.refused("--nonce", str(nonce), "--value", str(10**30), *fees))
    emit("intrinsic_gas", c.refused("--nonce", str(nonce), "--gas-limit", "20000", *fees[2:]))
    emit("wrong_chain_id", c.refused("--nonce", str(nonce), "--chain", "4242", *fees))
    try:
        c.rpc("eth_noSuchMethod")
        emit("unknown_method", "accepted")
    except CastError as error:
        emit("unknown_method", classify(str(error)))
    first = c.send_async("--nonce", str(nonce + 1), *fees)
    emit("replacement_underpriced", c.refused("--nonce", str(nonce + 1), "--value", "1", *fees))
    c.send_async("--nonce", str(nonce), *fees)
    emit("gap_filled", status(c.wait(first)))
    emit("pending_nonce", c.number("nonce", "--block", "pending", c.address) - nonce)
    emit_unsupported("batch", "cast sends one request per command")


def subscription_steps(c: Cast, token: str) -> None:
    """cast streams logs only; that block-number works over WebSocket is checked on the way."""
    assert int(c.run("block-number", "--rpc-url", c.ws)) >= 5
    emit_unsupported("new_heads", "cast has no command that subscribes to heads")
    command = [c.program, "logs", "--rpc-url", c.ws, "--subscribe", "--address", token]
    ours, theirs = pty.openpty()  # into a pipe, or as JSON, cast writes only when it ends
    stream = subprocess.Popen(command, stdout=theirs)
    try:
        time.sleep(2)
        c.send_async(token, "transfer(address,uint256)", EMPTY_ACCOUNT, "5")
        text = ""
        while "transactionIndex:" not in text:
            ready, _, _ = select.select([ours], [], [], 30)
            if not ready:
                raise CastError(f"cast logs did not print the log within 30 s: {text}")
            text += os.read(ours, 65_536).decode()
        fields = dict(re.findall(r"(data|removed): (\S+)", text))
        topic = re.search(r"topics: \[\s*(0x[0-9a-f]{64})", text)
        assert topic is not None, text
        emit("logs_subscription", [topic.group(1), int(fields["data"], 16), fields["removed"] == "true"])
    finally:
        stream.kill()
        stream.wait()
        os.close(ours)
        os.close(theirs)


def main() -> None:
    cast = Cast(os.environ["PLAIT_CAST"], sys.argv[1], sys.argv[2], os.environ["PLAIT_CLIENT_KEY"])
    read_steps(cast)
    token = token_steps(cast)
    bench = workbench_steps(cast)
    transaction_steps(cast, bench)
    refusal_steps(cast)
    subscription_steps(cast, token)


if __name__ == "__main__":
    main()
