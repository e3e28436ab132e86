"""A real anvil whose blocks the test makes, and the deposit portal and system configuration contracts on it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "tools"))

from build_tools import foundry_path  # noqa: E402
from eth_abi import encode  # noqa: E402

from plait.derivation.rollup_config import BlockId, OpStackConfig  # noqa: E402
from plait.derivation.system_config import SystemConfig  # noqa: E402
from plait.native import keccak256  # noqa: E402
from plait.rollups.contracts import artifact  # noqa: E402
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS  # noqa: E402
from plait.types import Address, Gas, Seconds  # noqa: E402

L1_CHAIN_ID = 900
OWNER = "0x" + DEVELOPMENT_ACCOUNTS[8].address.hex()
WALLET = "0x" + DEVELOPMENT_ACCOUNTS[1].address.hex()
BATCHER = DEVELOPMENT_ACCOUNTS[9].address
INBOX = Address(bytes.fromhex("ff00000000000000000000000000000000000901"))
NOBODY = Address(bytes.fromhex("00000000000000000000000000000000000000aa"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Anvil:
    """An L1 that keeps its state over a restart."""

    def __init__(self, directory: Path, *flags: str, chain_id: int = L1_CHAIN_ID) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._flags = flags
        self._chain_id = chain_id
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            str(foundry_path("anvil")), "--chain-id", str(self._chain_id), "-p", str(self.port), "--silent",
            "--no-mining", "--slots-in-an-epoch", "8", "--state", str(self._directory / "anvil.json"), *self._flags,
        ]  # fmt: skip
        environment = {"HOME": str(self._directory), "PATH": os.environ["PATH"]}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.call("eth_chainId")
                # else blocks that are mined within a second have the same time, which no other L1 gives them
                self.call("anvil_setBlockTimestampInterval", 1)
                return
            except (OSError, urllib.error.URLError):
                assert self._process.poll() is None, "anvil ended at once"
                assert time.monotonic() < deadline, "anvil did not start"
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends it so that it writes its state."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)

    def call(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as response:
            answer = json.load(response)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def mine(self, count: int = 1) -> int:
        """Number of the newest block after mining."""
        for _ in range(count):
            self.call("evm_mine")
        return int(self.call("eth_blockNumber"), 16)

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
