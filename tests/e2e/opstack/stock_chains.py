"""Chains made by unmodified programs: anvil whose clock began some minutes ago, op-node that sequences, op-geth that
forgets old states, and some thousand accounts, slots and contracts in them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from eth_account import Account

from plait.client import Client
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.opstack.founding import Founding
from plait.testnet.opstack.layout import PortPlan, RollupEntry, RollupPorts
from plait.testnet.opstack.processes import Process
from plait.testnet.opstack.programs import find_programs
from plait.testnet.opstack.supervisor import HOST, OpStack
from tests.peers.stock_sequencer import stock_sequencer

L1_BLOCK_TIME_S = 2
KEEP = bytes.fromhex("6020355f355500")
"""Runtime code: storage[word 0 of the input] = word 1."""


class StockStack(OpStack):
    """Local programs without Plait's node. The engines keep the states of the newest 128 blocks only."""

    age_s = 420
    """How long before now the L1 begins."""

    def _anvil(self) -> Process:
        process = super()._anvil()
        if not (self.directory / "l1" / "state.json").exists():
            process.command = (*process.command, "--timestamp", str(int(time.time()) - self.age_s))
        return process

    def _geth(self, entry: RollupEntry, ports: RollupPorts, role: str) -> Process:
        process = super()._geth(entry, ports, role)
        if role == "engine":
            process.command = tuple("full" if word == "archive" else word for word in process.command)
        return process

    def engine_options(self, at: int) -> tuple[str, ...]:
        """How `plait rollup` is told of a chain."""
        home = self.directory / str(self.layout.rollups[at].chain_id)
        return (
            "--engine", f"http://{HOST}:{self.ports.programs[at].engine_auth}", "--jwt",
            str(self.directory / "jwt.hex"), "--rollup-config", str(home / "rollup.json"),
        )  # fmt: skip

    def genesis_options(self, at: int) -> tuple[str, ...]:
        """The option with which a chain's state is held here."""
        return ("--genesis", str(self.directory / str(self.layout.rollups[at].chain_id) / "genesis.json"))


@contextlib.asynccontextmanager
async def stock_stack(directory: Path, *, rollups: int) -> AsyncIterator[StockStack]:
    """Everything but op-node sequencers; L1's newest block is a few seconds old."""
    founding = Founding(rollups=rollups, l1_block_time_s=L1_BLOCK_TIME_S, ports=PortPlan(rpc=0))
    async with StockStack.running(directory, find_programs(), founding, sequencer=False) as stack:
        assert isinstance(stack, StockStack)
        async with Client(stack.l1_url) as l1:
            newest = await l1.call("eth_getBlockByNumber", "latest", False)
            missing = (int(time.time()) - int(newest["timestamp"], 16)) // L1_BLOCK_TIME_S
            await l1.call("anvil_mine", hex(missing), hex(L1_BLOCK_TIME_S))
        yield stack


@contextlib.asynccontextmanager
async def sequencing(stack: StockStack, places: Sequence[int]) -> AsyncIterator[list[str]]:
    """Stock sequencers of these rollups: their addresses."""
    made = [stock_sequencer(stack, at) for at in places]
    try:
        await asyncio.gather(*(process.start() for process, _ in made))
        yield [url for _, url in made]
    finally:
        await asyncio.gather(*(process.stop() for process, _ in made))


# ---------------------------------------------------------------- traffic
class Wallet:
    """One development account on one rollup; knows its next nonce."""

    def __init__(self, at: int, chain_id: int) -> None:
        self.address = DEVELOPMENT_ACCOUNTS[at].address
        self._account = Account.from_key(DEVELOPMENT_ACCOUNTS[at].private_key)
        self._chain_id = chain_id
        self.nonce = 0

    def sign(self, to: bytes | None, *, data: bytes = b"", value: int = 0, gas: int = 21_000) -> bytes:
        """The next transaction."""
        fields: dict[str, Any] = {
            "type": 2, "chainId": self._chain_id, "nonce": self.nonce, "value": value, "gas": gas, "data": data,
            "maxFeePerGas": 2 * 10**10, "maxPriorityFeePerGas": 10**6,
        }  # fmt: skip
        if to is not None:
            fields["to"] = to
        self.nonce += 1
        return bytes(self._account.sign_transaction(fields).raw_transaction)


def paying(count: int, first: bytes) -> bytes:
    """Creation code that pays 1 wei each to `count` new accounts, from `first` + 1 on."""
    loop = "5b5f5f5f5f600185" + "73" + first.hex() + "015ff150" + "6001900380600357"
    return bytes.fromhex(f"61{count:04x}" + loop + "5f5ff3")


def keeping(count: int) -> bytes:
    """Creation code of a contract with `count` slots, and KEEP as its code."""
    loop = "5b808055" + "6001900380600357"
    return bytes.fromhex(f"61{count:04x}" + loop + "66" + KEEP.hex() + "5f52600760" + "19f3")


def filling(wallet: Wallet) -> list[bytes]:
    """Transactions that make some thousand accounts and slots, and a few dozen contracts."""
    found = []
    for part in range(3):
        found.append(wallet.sign(None, data=paying(700, bytes([0x10 + part]) * 20), value=700, gas=28_000_000))
        found.append(wallet.sign(None, data=keeping(400), gas=14_000_000))
    found += [wallet.sign(None, data=keeping(3), gas=400_000) for _ in range(30)]
    return found


def keep(slot: int, value: int) -> bytes:
    """Input of KEEP."""
    return slot.to_bytes(32, "big") + value.to_bytes(32, "big")


__all__ = ["KEEP", "StockStack", "Wallet", "filling", "keep", "sequencing", "stock_stack"]
