"""Chains that stock programs made go on here without their genesis file: `plait rollup add`, `plait rollup run`.

Everything is unmodified but Plait: op-geth holds the state and keeps that of its newest 128 blocks, op-node sequenced
before and derives afterwards. What is believed is the verifier: its safe blocks have the hashes of ours.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from running_opstack import blocks, call, require_programs, until
from stock_chains import StockStack, Wallet, filling, keep, sequencing, stock_stack

from plait.client import Bundle, Client, RpcError
from plait.native import keccak256
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.layout import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.opgeth, pytest.mark.node_js]

HELD, REMOTE = 0, 1
"""Places of the two chains: one is added with its genesis file, the other without."""
STATES_KEPT = 128
"""By op-geth."""
RECIPIENT = bytes.fromhex("7e" * 20)


async def plait(*arguments: str, code: int = 0) -> str:
    """Output of `plait rollup ...`; its errors where it is to fail."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "plait.cli.main", "rollup", *arguments, stdout=-1, stderr=-1
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == code, (out.decode(), err.decode())
    return (err if code else out).decode()


class Run:
    """`plait rollup run` that can be killed."""

    def __init__(self, network: Path, key: Path, log: Path) -> None:
        self._arguments = ("--data-dir", str(network), "--batcher-key", str(key), "--port", str(free_ports(1)[0]))
        self.network = network
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""
        self.rollups: list[str] = []

    async def start(self) -> None:
        """Returns when it answers."""
        with self._log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "plait.cli.main", "rollup", "run", *self._arguments, "--json", stdout=-1,
                stderr=errors,
            )  # fmt: skip
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        assert line, self._log.read_text()[-3_000:]
        described = json.loads(line)
        self.url = described["url"]
        self.rollups = [one["url"] for one in sorted(described["rollups"], key=lambda one: one["chainId"])]

    async def end(self, how: signal.Signals) -> None:
        """Returns when the process is gone."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(how)
            await asyncio.wait_for(self._process.wait(), 30)


async def head(url: str, tag: str = "latest") -> int:
    block = await call(url, "eth_getBlockByNumber", tag, False)
    return -1 if block is None else int(block["number"], 16)


async def balance(url: str, address: bytes) -> int:
    return int(await call(url, "eth_getBalance", "0x" + address.hex(), "latest"), 16)


async def receipt(url: str, transaction_hash: str) -> Any:
    try:
        return await call(url, "eth_getTransactionReceipt", transaction_hash)
    except RpcError:  # op-geth, while it indexes
        return None


async def send(url: str, raw: bytes) -> str:
    return str(await call(url, "eth_sendRawTransaction", "0x" + raw.hex()))


async def succeeded(url: str, hashes: list[str], seconds: float = 30) -> list[Any]:
    """Receipts of transactions that all succeed."""

    async def done() -> list[Any] | None:
        found = [await receipt(url, one) for one in hashes]
        return None if any(one is None for one in found) else found

    found: list[Any] = await until(done, seconds=seconds, what=f"{len(hashes)} transactions are in blocks")
    assert all(one["status"] == "0x1" for one in found), found
    return found


async def deposit(stack: StockStack, at: int, value: int) -> None:
    """Ether from L1 to RECIPIENT."""
    words = [int.from_bytes(RECIPIENT), value, 100_000, 0, 160, 0]
    data = keccak256(b"depositTransaction(address,uint256,uint64,bool,bytes)")[:4]
    request = {
        "from": "0x" + DEVELOPMENT_ACCOUNTS[1].address.hex(),
        "to": stack.layout.rollups[at].portal,
        "data": "0x" + (data + b"".join(word.to_bytes(32, "big") for word in words)).hex(),
        "value": hex(value),
        "gas": hex(1_000_000),
    }
    await call(stack.l1_url, "eth_sendTransaction", request)


async def made_by_stock_programs(stack: StockStack, network: Path) -> tuple[list[Wallet], list[str], list[int]]:
    """Chains with contents, taken over: wallets, a contract of KEEP on each, anchors."""
    wallets = [Wallet(2, entry.chain_id) for entry in stack.layout.rollups]
    keepers, anchors = ["", ""], [0, 0]
    async with sequencing(stack, (HELD, REMOTE)) as nodes:
        for at, wallet in enumerate(wallets):
            url = stack.endpoints(at).engine
            hashes = [await send(url, raw) for raw in filling(wallet)]
            keepers[at] = (await succeeded(url, hashes))[1]["contractAddress"]
        await call(nodes[HELD], "admin_stopSequencer")
        for at in (REMOTE, HELD):
            more = ("--op-node", nodes[at]) if at == REMOTE else stack.genesis_options(at)
            added = json.loads(
                await plait(
                    "add", *stack.engine_options(at), *more, "--l1", stack.l1_url, "--data-dir", str(network), "--json"
                )
            )
            assert added["state"] == ("held" if at == HELD else "remote")
            anchors[at] = added["number"]
    return wallets, keepers, anchors


async def test_a_chain_of_any_size_goes_on_here_and_a_stock_verifier_derives_it(tmp_path: Path) -> None:
    require_programs()
    network = tmp_path / "network"
    async with stock_stack(tmp_path / "stack", rollups=2) as stack:
        wallets, keepers, anchors = await made_by_stock_programs(stack, network)
        run = Run(network, stack.directory / "batcher.key", tmp_path / "node.log")
        try:
            await run.start()
            await the_way_of_a_rollup(stack, run, wallets, keepers, anchors)
        finally:
            await run.end(signal.SIGTERM)
            print(*(tmp_path / "node.log").read_text().splitlines()[-30:], sep="\n")


async def the_way_of_a_rollup(
    stack: StockStack, run: Run, wallets: list[Wallet], keepers: list[str], anchors: list[int]
) -> None:
    ours, engine = run.rollups[REMOTE], stack.endpoints(REMOTE).engine
    wallet, keeper = wallets[REMOTE], bytes.fromhex(keepers[REMOTE][2:])

    # reads of what was never looked at, transfers, calls that write and delete slots of a contract made before
    assert await balance(ours, bytes([0x10] * 19 + [0x10 + 7])) == 1
    hashes = [await send(ours, wallet.sign(RECIPIENT, value=5)) for _ in range(3)]
    hashes += [
        await send(ours, wallet.sign(keeper, data=keep(slot, value), gas=100_000))
        for slot, value in ((7, 70), (8, 0), (9, 0), (401, 1))
    ]
    await succeeded(ours, hashes)
    assert await balance(ours, RECIPIENT) == 15

    # a bundle on both chains
    both = Bundle()
    for at, raw in enumerate(one.sign(RECIPIENT, value=1) for one in wallets):
        both.leg(stack.layout.rollups[at].chain_id, raw)
    async with Client(run.url) as client:
        await client.send(both)
    for at, expected in ((HELD, 1), (REMOTE, 16)):

        async def paid(at: int = at, expected: int = expected) -> bool:
            return await balance(run.rollups[at], RECIPIENT) == expected

        await until(paid, seconds=30, what="the bundle is on both chains")

    # a deposit, and op-geth gone for ten seconds meanwhile
    engine_name = f"op-geth-{stack.layout.rollups[REMOTE].chain_id}-engine"
    await stack.stop(engine_name)
    await deposit(stack, REMOTE, 10**18)
    waits = await send(ours, wallet.sign(keeper, data=keep(300, 3), gas=100_000))
    await asyncio.sleep(10)
    await stack.start(engine_name)

    async def deposited() -> bool:
        return await balance(ours, RECIPIENT) == 16 + 10**18

    await until(deposited, seconds=40, what="the deposit is on the rollup")
    await succeeded(ours, [waits])

    # killed at any moment; stopped, which writes a snapshot; killed after that; then everything is made anew from the
    # decided log and the journal
    for how, forgets in (
        (signal.SIGKILL, False),
        (signal.SIGTERM, False),
        (signal.SIGKILL, False),
        (signal.SIGTERM, True),
    ):
        before = await head(ours)
        for slot in (11, 12):
            await send(ours, wallet.sign(keeper, data=keep(slot, 5), gas=100_000))
        await run.end(how)
        if forgets:
            shutil.rmtree(run.network / "node" / "store")
        await run.start()
        ours = run.rollups[REMOTE]

        async def goes_on(before: int = before, ours: str = ours) -> bool:
            return await head(ours) > before

        await until(goes_on, seconds=40, what="the chain goes on after a stop")
        sender = "0x" + wallet.address.hex()
        wallet.nonce = int(await call(ours, "eth_getTransactionCount", sender, "pending"), 16)
    await succeeded(ours, [await send(ours, wallet.sign(keeper, data=keep(350, 0), gas=100_000))])

    async def forgotten() -> bool:
        return await head(engine) > anchors[REMOTE] + STATES_KEPT

    await until(forgotten, seconds=100, what="op-geth has forgotten the anchor's state")
    await succeeded(ours, [await send(ours, wallet.sign(keeper, data=keep(351, 0), gas=100_000))])

    # what an unmodified verifier derives from L1
    for at in (HELD, REMOTE):
        last = await head(run.rollups[at])

        async def derived(at: int = at, last: int = last) -> bool:
            return await head(stack.endpoints(at).verifier, "safe") >= last

        await until(derived, seconds=60, what=f"op-node calls block {last} safe")
        theirs = await blocks(stack.endpoints(at).verifier, anchors[at], last)
        assert await blocks(run.rollups[at], anchors[at], last) == theirs
        assert await blocks(stack.endpoints(at).engine, anchors[at], last) == theirs
    assert await balance(engine, RECIPIENT) == 16 + 10**18
