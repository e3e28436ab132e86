"""A real anvil whose blocks the test makes, and the deposit portal and system configuration contracts on it."""

from __future__ import annotations

import time
from typing import Any

from eth_abi import encode

from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import SystemConfig
from plait.native import keccak256
from plait.rollups.contracts import artifact
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address, Gas, Seconds
from tests.peers import anvil
from tests.peers.anvil import L1_CHAIN_ID

OWNER = "0x" + DEVELOPMENT_ACCOUNTS[8].address.hex()
WALLET = "0x" + DEVELOPMENT_ACCOUNTS[1].address.hex()
BATCHER = DEVELOPMENT_ACCOUNTS[9].address
INBOX = Address(bytes.fromhex("ff00000000000000000000000000000000000901"))
NOBODY = Address(bytes.fromhex("00000000000000000000000000000000000000aa"))


class Anvil(anvil.Anvil):
    """An L1 whose blocks are at least a second apart."""

    def start(self) -> None:
        super().start()
        # else blocks that are mined within a second have the same time, which no other L1 gives them
        self.call("anvil_setBlockTimestampInterval", 1)

    def later(self, seconds: int) -> None:
        """Gives the next block a time so long after the clock's."""
        self.call("evm_setNextBlockTimestamp", int(time.time()) + seconds)

    def send(self, sender: str, to: str | None, data: bytes, value: int = 0) -> str:
        """Hands a transaction in, which the next block will hold; its hash."""
        request = {"from": sender, "data": "0x" + data.hex(), "value": hex(value), "gas": hex(2_500_000)}
        if to is not None:
            request["to"] = to
        return str(self.call("eth_sendTransaction", request))

    def receipt(self, transaction_hash: str) -> Any:
        return self.call("eth_getTransactionReceipt", transaction_hash)

    def deploy(self, name: str, arguments: bytes = b"") -> str:
        transaction = self.send(OWNER, None, artifact(name).creation_code + arguments)
        self.mine()
        receipt = self.receipt(transaction)
        assert receipt["status"] == "0x1", f"{name} was not deployed"
        return str(receipt["contractAddress"])


def calldata(signature: str, *values: Any) -> bytes:
    """ABI call of a function whose argument types are in its signature."""
    inner = signature[signature.index("(") + 1 : -1]
    return keccak256(signature.encode())[:4] + encode(inner.split(",") if inner else [], values)


class RollupOnL1:
    """The two contracts of one rollup, and its configuration with the newest block as genesis."""

    def __init__(self, anvil: Anvil, chain_id: int) -> None:
        self.anvil = anvil
        self.portal = anvil.deploy("DepositPortal")
        terms = (
            "0x" + BATCHER.hex(), 1_368, 810_949, 30_000_000, OWNER, "0x" + INBOX.hex(), self.portal, chain_id,
        )  # fmt: skip
        kinds = "(address,uint32,uint32,uint64,address,address,address,uint256)"
        self.system_config = anvil.deploy("SystemConfig", encode(["address", kinds], [OWNER, terms]))
        block = anvil.call("eth_getBlockByNumber", "latest", False)
        genesis = BlockId(int(block["number"], 16), bytes.fromhex(block["hash"][2:]))
        self.config = OpStackConfig(
            chain_id=chain_id,
            l1_chain_id=L1_CHAIN_ID,
            genesis_l1=genesis,
            genesis_l2=BlockId(0, bytes(32)),
            genesis_time_s=Seconds(int(block["timestamp"], 16)),
            genesis_system=SystemConfig(
                batcher=Address(BATCHER),
                gas_limit=Gas(30_000_000),
                base_fee_scalar=1_368,
                blob_base_fee_scalar=810_949,
                eip1559_denominator=250,
                eip1559_elasticity=6,
            ),
            block_time_s=2,
            batch_inbox=INBOX,
            deposit_contract=Address(bytes.fromhex(self.portal[2:])),
            system_config_contract=Address(bytes.fromhex(self.system_config[2:])),
        )

    def deposit(
        self, *, to: bytes = NOBODY, value: int = 0, mint: int = 0, gas: int = 100_000, data: bytes = b""
    ) -> str:
        call = calldata(
            "depositTransaction(address,uint256,uint64,bool,bytes)", "0x" + to.hex(), value, gas, False, data
        )
        return self.anvil.send(WALLET, self.portal, call, mint)

    def configure(self, signature: str, *values: Any) -> str:
        return self.anvil.send(OWNER, self.system_config, calldata(signature, *values))
