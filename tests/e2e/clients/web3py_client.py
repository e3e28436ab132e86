"""web3.py against a Plait rollup: every step of tests/e2e/test_clients.py, one JSON line each. Started by that test."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from eth_account import Account
from web3 import AsyncWeb3, Web3
from web3.exceptions import Web3Exception
from web3.middleware import SignAndSendRawMiddlewareBuilder
from web3.providers import WebSocketProvider
from web3.types import TxParams, TxReceipt

ARTIFACTS = Path(__file__).resolve().parents[3] / "plait" / "rollups" / "artifacts"
EMPTY_ACCOUNT = Web3.to_checksum_address("0x" + "e0" * 20)
CANONICAL = (
    "nonce too low", "insufficient funds", "replacement transaction underpriced", "intrinsic gas too low",
    "invalid chain id", "invalid sender", "method not found", "not exist/is not available",
)  # fmt: skip


def emit(step: str, value: Any) -> None:
    print(json.dumps({"step": step, "value": value}), flush=True)


def classify(error: BaseException) -> str:
    """The part of an error's text that every client must pass on."""
    text = str(error).lower()
    for fragment in CANONICAL:
        if fragment in text:
            return {"not exist/is not available": "method not found", "invalid sender": "invalid chain id"}.get(
                fragment, fragment
            )
    return f"unrecognised: {text[:300]}"


def load(name: str) -> dict[str, Any]:
    artifact: dict[str, Any] = json.loads((ARTIFACTS / f"{name}.json").read_text())
    return artifact


class Client:
    def __init__(self, http: str, key: str) -> None:
        self.w3 = Web3(Web3.HTTPProvider(http, request_kwargs={"timeout": 30}))
        self.account = Account.from_key(key)
        self.w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(self.account), layer=0)
        self.w3.eth.default_account = self.account.address

    def receipt(self, transaction: TxParams) -> TxReceipt:
        identity = self.w3.eth.send_transaction(transaction)
        return self.w3.eth.wait_for_transaction_receipt(identity, timeout=60, poll_latency=0.2)

    def deploy(self, name: str, *arguments: Any) -> Any:
        artifact = load(name)
        contract = self.w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
        identity = contract.constructor(*arguments).transact()
        receipt = self.w3.eth.wait_for_transaction_receipt(identity, timeout=60, poll_latency=0.2)
        return self.w3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"]), receipt

    def transact(self, function: Any) -> TxReceipt:
        return self.w3.eth.wait_for_transaction_receipt(function.transact(), timeout=60, poll_latency=0.2)

    def raw(self, method: str, *params: Any) -> Any:
        return self.w3.manager.request_blocking(method, list(params))  # type: ignore[arg-type]

    def fields(self, **changes: Any) -> TxParams:
        """A signed-by-hand transaction's fields: a plain transfer with generous fees."""
        fee = self.w3.eth.get_block("latest")["baseFeePerGas"] * 2 + 10**9
        fields: dict[str, Any] = {
            "chainId": self.w3.eth.chain_id,
            "nonce": self.w3.eth.get_transaction_count(self.account.address, "pending"),
            "to": EMPTY_ACCOUNT,
            "value": 0,
            "gas": 21_000,
            "maxFeePerGas": fee,
            "maxPriorityFeePerGas": 10**9,
            "type": 2,
        }
        fields.update(changes)
        return fields  # type: ignore[return-value]

    def send_signed(self, fields: TxParams) -> bytes:
        signed = self.account.sign_transaction(fields)
        return bytes(self.w3.eth.send_raw_transaction(signed.raw_transaction))

    def refused(self, fields: TxParams) -> str:
        try:
            self.send_signed(fields)
        except (Web3Exception, ValueError) as error:
            return classify(error)
        return "accepted"


def read_steps(c: Client) -> None:
    eth = c.w3.eth
    while eth.block_number < 5:
        time.sleep(0.2)
    emit("chain_id", eth.chain_id)
    emit("network_version", c.w3.net.version)
    emit("syncing", eth.syncing)
    emit("client_version", len(c.w3.client_version) > 0)
    genesis = eth.get_block(0)
    emit("genesis_block", [genesis["number"], len(genesis["transactions"]), genesis["baseFeePerGas"]])
    emit("empty_balance", str(eth.get_balance(Web3.to_checksum_address("0x" + "e1" * 20))))
    emit("funded_balance", eth.get_balance(c.account.address) > 10**18)
    emit("gas_price", eth.gas_price >= 1)
    history = eth.fee_history(4, "latest", [25.0, 75.0])
    emit(
        "fee_history",
        [
            len(history["baseFeePerGas"]),
            len(history["gasUsedRatio"]),
            len(history["reward"]),
            len(history["reward"][0]),
        ],
    )
    block = eth.get_block("latest")
    emit("block_lookup", eth.get_block(block["hash"])["number"] == block["number"])
    emit("pending_block", c.raw("eth_getBlockByNumber", "pending", False)["number"] is not None)


def token_steps(c: Client) -> Any:
    token, receipt = c.deploy("DemoToken", "Plait Test", "PTT")
    code = c.w3.eth.get_code(token.address)
    emit("deploy_token", [receipt["status"], Web3.keccak(code).to_0x_hex()])
    f = token.functions
    emit("token_metadata", [f.name().call(), f.symbol().call(), f.decimals().call()])
    minted = c.transact(f.mint(c.account.address, 1000))
    emit("mint", [minted["status"], len(minted["logs"]), minted["logs"][0]["topics"][0].to_0x_hex()])
    sent = c.transact(f.transfer(EMPTY_ACCOUNT, 250))
    event = token.events.Transfer().process_log(sent["logs"][0])
    emit("transfer", [sent["status"], str(event["args"]["value"])])
    emit("token_balances", [str(f.balanceOf(c.account.address).call()), str(f.balanceOf(EMPTY_ACCOUNT).call())])
    logs = token.events.Transfer().get_logs(from_block=receipt["blockNumber"])
    emit("logs_query", len(logs))
    emit("estimate_transfer", c.w3.eth.estimate_gas({"from": c.account.address, "to": EMPTY_ACCOUNT, "value": 1}))
    emit("estimate_contract", 21_000 < f.transfer(EMPTY_ACCOUNT, 1).estimate_gas() < 100_000)
    receipts = c.raw("eth_getBlockReceipts", hex(sent["blockNumber"]))
    emit("block_receipts", len(receipts) == len(c.w3.eth.get_block(sent["blockNumber"])["transactions"]))
    return token


def error_data(call: Any) -> str:
    try:
        call()
    except Web3Exception as error:
        data = getattr(error, "data", None)
        return str(data) if isinstance(data, str) else f"no data: {error}"
    return "succeeded"


def workbench_steps(c: Client) -> Any:
    bench, receipt = c.deploy("Workbench")
    emit("deploy_workbench", receipt["status"])
    f = bench.functions
    reason = error_data(lambda: f.revertReason("not today").call())
    emit("revert_reason", Web3.to_text(hexstr=reason[10:])[64 : 64 + 9] if reason.startswith("0x08c379a0") else reason)
    emit("revert_custom", error_data(lambda: f.revertCustom(7).call())[:74])
    emit("revert_panic", error_data(lambda: f.panic(0).call()))
    try:
        f.revertReason("not today").estimate_gas()
        emit("estimate_revert", "succeeded")
    except Web3Exception as error:
        emit("estimate_revert", "not today" if "not today" in str(error) else str(error))
    c.transact(f.count())
    slot = c.w3.eth.get_storage_at(bench.address, 1)
    emit("storage", int.from_bytes(slot, "big"))
    proof = c.w3.eth.get_proof(bench.address, ["0x" + "00" * 31 + "01"])
    emit("proof", [len(proof["accountProof"]) > 0, int.from_bytes(proof["storageProof"][0]["value"], "big")])
    access = c.raw(
        "eth_createAccessList",
        {"from": c.account.address, "to": bench.address, "data": f.count()._encode_transaction_data()},
        "latest",
    )
    emit(
        "create_access_list",
        sum(
            len(entry["storageKeys"])
            for entry in access["accessList"]
            if entry["address"].lower() == bench.address.lower()
        ),
    )
    failed = c.receipt({"to": bench.address, "data": Web3.keccak(text="revertPlain()")[:4], "gas": 100_000})
    emit("reverted_transaction", failed["status"])
    override = {EMPTY_ACCOUNT: {"code": "0x602a60005260206000f3"}}
    emit("state_override", int(c.raw("eth_call", {"to": EMPTY_ACCOUNT}, "latest", override), 16))
    return bench


def transaction_steps(c: Client, bench: Any) -> None:
    eth = c.w3.eth
    target = Account.create().address
    nonce = eth.get_transaction_count(c.account.address)
    receipt = c.receipt({"to": target, "value": 12_345})
    emit("value_transfer", [receipt["status"], str(eth.get_balance(target))])
    sent = eth.get_transaction(receipt["transactionHash"])
    emit("transaction_fields", [sent["type"], sent["nonce"] == nonce, str(sent["value"]), sent["to"] == target])
    legacy = c.receipt({"to": target, "value": 1, "gasPrice": eth.gas_price * 2})
    emit("legacy", [eth.get_transaction(legacy["transactionHash"])["type"], legacy["status"]])
    listed = c.fields(
        to=target, type=1, gas=60_000, accessList=[{"address": bench.address, "storageKeys": ["0x" + "00" * 32]}]
    )
    listed["gasPrice"] = listed.pop("maxFeePerGas")
    listed.pop("maxPriorityFeePerGas")
    done = eth.wait_for_transaction_receipt(c.send_signed(listed), timeout=60, poll_latency=0.2)
    emit("access_list", [eth.get_transaction(done["transactionHash"])["type"], done["status"]])
    authority = Account.create()
    signed = authority.sign_authorization({"chainId": eth.chain_id, "address": bench.address, "nonce": 0})
    done = eth.wait_for_transaction_receipt(
        c.send_signed(c.fields(type=4, gas=200_000, authorizationList=[signed])), timeout=60, poll_latency=0.2
    )
    emit("set_code", [done["status"], eth.get_code(authority.address)[:3].to_0x_hex()])


def refusal_steps(c: Client) -> None:
    eth = c.w3.eth
    nonce = eth.get_transaction_count(c.account.address)
    emit("nonce_too_low", c.refused(c.fields(nonce=nonce - 1)))
    emit("insufficient_funds", c.refused(c.fields(value=10**30)))
    emit("intrinsic_gas", c.refused(c.fields(gas=20_000)))
    emit("wrong_chain_id", c.refused(c.fields(chainId=4242)))
    try:
        c.raw("eth_noSuchMethod")
        emit("unknown_method", "accepted")
    except Web3Exception as error:
        emit("unknown_method", classify(error))
    first = c.send_signed(c.fields(nonce=nonce + 1))
    emit("replacement_underpriced", c.refused(c.fields(nonce=nonce + 1, value=1)))
    c.send_signed(c.fields(nonce=nonce))
    emit("gap_filled", eth.wait_for_transaction_receipt(first, timeout=60, poll_latency=0.2)["status"])
    emit("pending_nonce", eth.get_transaction_count(c.account.address, "pending") - nonce)


def batch_step(c: Client) -> None:
    with c.w3.batch_requests() as batch:
        batch.add(c.w3.eth._chain_id())
        batch.add(c.w3.eth._get_balance(Web3.to_checksum_address("0x" + "e1" * 20)))
        batch.add(c.w3.eth._get_block(0))
        chain, balance, block = batch.execute()
    emit("batch", [chain, str(balance), block["number"]])


async def subscription_steps(ws: str, c: Client, token: Any) -> None:
    async with AsyncWeb3(WebSocketProvider(ws)) as w3:
        heads_id = await w3.eth.subscribe("newHeads")
        heads = []
        async for message in w3.socket.process_subscriptions():
            if message["subscription"] == heads_id:
                heads.append(message["result"])
            if len(heads) == 2:
                break
        emit(
            "new_heads",
            [len(heads), heads[1]["parentHash"] == heads[0]["hash"], heads[1]["number"] - heads[0]["number"]],
        )
        await w3.eth.unsubscribe(heads_id)
        logs_id = await w3.eth.subscribe("logs", {"address": token.address})
        await asyncio.to_thread(token.functions.transfer(EMPTY_ACCOUNT, 5).transact)
        async for message in w3.socket.process_subscriptions():
            if message["subscription"] == logs_id:
                log = message["result"]
                emit(
                    "logs_subscription",
                    [log["topics"][0].to_0x_hex(), int.from_bytes(log["data"], "big"), log["removed"]],
                )
                break


def main() -> None:
    http, ws = sys.argv[1], sys.argv[2]
    client = Client(http, os.environ["PLAIT_CLIENT_KEY"])
    read_steps(client)
    token = token_steps(client)
    bench = workbench_steps(client)
    transaction_steps(client, bench)
    refusal_steps(client)
    batch_step(client)
    asyncio.run(asyncio.wait_for(subscription_steps(ws, client, token), 60))


if __name__ == "__main__":
    main()
