"""One rollup as web3.py sees it, with what the demonstration needs beside: signing without asking, CREATE2, waiting."""

from collections.abc import Sequence
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract

from examples.demo.show import require
from plait.rollups.contracts import artifact

PRICE = {"maxFeePerGas": 20 * 10**9, "maxPriorityFeePerGas": 10**9}
DEPLOYER = Web3.to_checksum_address("0x4e59b44847b379578588920cA78FbF26c0B4956C")
"""The CREATE2 deployer that is on every rollup: salt and creation code in, the same address everywhere."""
SALT = bytes(32)


class Chain:
    """A rollup's endpoint."""

    def __init__(self, chain_id: int, url: str) -> None:
        self.chain_id = chain_id
        self.web3 = Web3(Web3.HTTPProvider(url))
        self._nonces: dict[str, int] = {}

    def sign(self, account: LocalAccount, call: Any, *, nonce: int, value: int = 0, gas: int = 300_000) -> bytes:
        """A contract call of this account as a raw signed transaction; the node is asked nothing."""
        fields = {"chainId": self.chain_id, "from": account.address, "nonce": nonce, "gas": gas, "value": value}
        return bytes(account.sign_transaction(call.build_transaction(fields | PRICE)).raw_transaction)

    def nonce(self, account: LocalAccount) -> int:
        """The account's next nonce, what is decided included."""
        return int(self.web3.eth.get_transaction_count(account.address, "pending"))

    def send(self, account: LocalAccount, call: Any, *, value: int = 0, gas: int = 300_000) -> bytes:
        """Sends a call; returns the transaction's hash. Nonces are counted here, so that many can be on their way."""
        nonce = self._take_nonce(account)
        return bytes(self.web3.eth.send_raw_transaction(self.sign(account, call, nonce=nonce, value=value, gas=gas)))

    def send_plain(self, account: LocalAccount, to: str, *, data: bytes = b"", value: int = 0, gas: int) -> bytes:
        """Sends a transaction that is no contract call; returns its hash."""
        fields: dict[str, Any] = {"chainId": self.chain_id, "to": to, "nonce": self._take_nonce(account), "gas": gas}
        signed = account.sign_transaction(fields | {"value": value, "data": data} | PRICE)
        return bytes(self.web3.eth.send_raw_transaction(signed.raw_transaction))

    def confirm(self, hashes: Sequence[bytes]) -> None:
        """Waits until all are in sealed blocks. Raises DemoFailure when one was reverted."""
        for hash_ in hashes:
            status = self.receipt(hash_)["status"]
            require(status == 1, f"Transaction {hash_.hex()} on rollup {self.chain_id} was reverted.")

    def receipt(self, hash_: bytes) -> Any:
        """A transaction's receipt, once it is in a sealed block."""
        return self.web3.eth.wait_for_transaction_receipt(HexBytes(hash_), timeout=20, poll_latency=0.05)

    def account(self, address: ChecksumAddress, block_number: int) -> tuple[int, int, bytes, bytes]:
        """(nonce, balance, code hash, storage root) of an account at a sealed block, by eth_getProof."""
        eth: Any = self.web3.eth
        proof = eth.get_proof(address, [], block_number)
        return proof["nonce"], proof["balance"], bytes(proof["codeHash"]), bytes(proof["storageHash"])

    def contract(self, name: str, address: ChecksumAddress) -> Contract:
        """A compiled contract at its address."""
        contract: Any = self.web3.eth.contract(address=address, abi=artifact(name).abi)
        assert isinstance(contract, Contract)
        return contract

    def place(self, account: LocalAccount, name: str, *arguments: Any) -> tuple[Contract, bytes]:
        """Deploys a compiled contract through CREATE2: the contract as it will be, and the transaction's hash."""
        compiled = artifact(name)
        factory = self.web3.eth.contract(abi=compiled.abi, bytecode=compiled.creation_code)
        code = bytes.fromhex(factory.constructor(*arguments).data_in_transaction[2:])
        hash_ = self.send_plain(account, DEPLOYER, data=SALT + code, gas=3_000_000)
        return self.contract(name, place_of(code)), hash_

    def _take_nonce(self, account: LocalAccount) -> int:
        nonce = self._nonces.get(account.address)
        if nonce is None:
            nonce = self.nonce(account)
        self._nonces[account.address] = nonce + 1
        return nonce


def place_of(code: bytes) -> ChecksumAddress:
    """Where DEPLOYER puts this creation code (EIP-1014)."""
    digest = Web3.keccak(b"\xff" + bytes.fromhex(DEPLOYER[2:]) + SALT + Web3.keccak(code))
    return Web3.to_checksum_address(digest[12:])
