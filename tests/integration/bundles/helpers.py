"""What the tests of bundles on a running node share: wallets that sign, contracts that are there, calls as a client."""

import asyncio
import time
from typing import Any

from eth_abi import encode
from eth_account import Account
from eth_account.messages import encode_defunct

from plait.client import Client
from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.native import keccak256
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from sim.listening import WALLETS, Running

ONE, OTHER = 901, 902
TO = bytes([0xB0]) * 20


def run(node: Running, work: Any, rollup: int | None = None) -> Any:
    """Runs a coroutine function of a client."""

    async def main() -> Any:
        async with Client(node.url(rollup).rstrip("/")) as client:
            return await work(client)

    return asyncio.run(main())


def next_nonce(node: Running, user: int, rollup: int) -> int:
    """Of what is decided."""
    return int(node.call("eth_getTransactionCount", "0x" + WALLETS[user].address.hex(), "pending", rollup=rollup), 16)


def signed(user: int, rollup: int, nonce: int, **changes: Any) -> bytes:
    """A transfer of 1 wei, or what the changes make of it."""
    fields: dict[str, Any] = {"to": TO, "value": 1, "max_fee_per_gas": 10**10} | changes
    return WALLETS[user].sign_1559(rollup, nonce, **fields)


def calldata(signature: str, *values: object) -> bytes:
    """ABI-encoded call."""
    types = [kind for kind in signature[signature.index("(") + 1 : -1].split(",") if kind]
    return keccak256(signature.encode())[:4] + encode(types, list(values))


def created_by(user: int, nonce: int) -> bytes:
    """Address of the contract that a transaction creates (CREATE)."""
    return keccak256(encode_list((encode_bytes(WALLETS[user].address), encode_uint(nonce))))[12:]


def deploy(node: Running, user: int, rollup: int, code: bytes) -> bytes:
    """Creates a contract and waits until it is there; its address."""
    nonce = next_nonce(node, user, rollup)
    raw = signed(user, rollup, nonce, to=b"", value=0, data=code, gas_limit=5_000_000)
    node.call("eth_sendRawTransaction", "0x" + raw.hex(), rollup=rollup)
    address = created_by(user, nonce)
    deadline = time.monotonic() + 20
    while node.call("eth_getCode", "0x" + address.hex(), "pending", rollup=rollup) == "0x":
        assert time.monotonic() < deadline, "the contract was not created"
        time.sleep(0.05)
    return address


def personal(user: int, text: str) -> bytes:
    """EIP-191 signature of a development account, by another implementation."""
    return bytes(Account.sign_message(encode_defunct(text=text), DEVELOPMENT_ACCOUNTS[user].private_key).signature)


def traces(node: Running, *users: int) -> list[Any]:
    """What a bundle that did not take place must leave as it was, on both rollups: nonces, balances, and the pool."""
    found: list[Any] = []
    for rollup in (ONE, OTHER):
        for address in [*(WALLETS[user].address for user in users), TO]:
            found += [
                node.call("eth_getTransactionCount", "0x" + address.hex(), "pending", rollup=rollup),
                node.call("eth_getBalance", "0x" + address.hex(), "pending", rollup=rollup),
            ]
        found.append(node.call("txpool_status", rollup=rollup))
    return found
