"""The main job, from start to end: two rollups on one sequencer, contracts on both, several hundred transactions,
an account.

    .venv/bin/python examples/demo/demo.py            (or: make demo)

It starts `plait devnet` as a process of its own with a temporary data directory, deploys a token and a small
exchange on
both rollups with web3.py, sends pre-signed transfers and swaps to both in batches, follows every transaction until
its block
is sealed, reads everything back, stops the node, replays its log and prints what happened. Exits 0 when all of it
holds,
1 with a sentence when something does not.
"""

import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract

from plait.client import Client, RpcError
from plait.rollups.contracts import artifact

TRADERS = 9
TRANSACTIONS_PER_TRADER = 34
BATCHES = 20
BATCH_EVERY_S = 0.2
ETHER = 10**18
PRICE = {"maxFeePerGas": 20 * 10**9, "maxPriorityFeePerGas": 10**9}
FOREVER_S = 2**40


class DemoFailure(Exception):
    """Something does not hold; the message says what."""


def require(holds: bool, sentence: str) -> None:
    """Raises DemoFailure with the sentence when it does not hold."""
    if not holds:
        raise DemoFailure(sentence)


class Sent(msgspec.Struct):
    """A transaction on its way; times are monotonic seconds."""

    sent_at: float
    decided_at: float = 0.0
    sealed_at: float = 0.0


class Market:
    """A token and its exchange on one rollup, and the accounts that trade there."""

    def __init__(self, rollup: dict[str, Any], accounts: list[LocalAccount]) -> None:
        self.chain_id: int = rollup["chainId"]
        self.url: str = rollup["url"]
        self.web3 = Web3(Web3.HTTPProvider(self.url))
        self.owner, *self.traders = accounts[: TRADERS + 1]
        self.token: Contract
        self.exchange: Contract
        self.signed: list[bytes] = []

    def deploy(self) -> None:
        """Deploys both contracts, gives everybody tokens and the exchange its first liquidity. Waits for the
        receipts."""
        self.token = self._deploy("DemoToken", "Demo", "DEMO")
        self.exchange = self._deploy("DemoExchange", self.token.address, "0x" + "00" * 20)
        calls = [
            (self.token.functions.mint(account.address, 1_000 * ETHER), 0) for account in (self.owner, *self.traders)
        ]
        calls.append((self.token.functions.approve(self.exchange.address, 2**256 - 1), 0))
        calls.append((self.exchange.functions.addLiquidity(500 * ETHER, 50 * ETHER), 50 * ETHER))
        nonce = self.web3.eth.get_transaction_count(self.owner.address)
        hashes = [
            self.web3.eth.send_raw_transaction(self._sign(self.owner, nonce + at, call, value, 300_000))
            for at, (call, value) in enumerate(calls)
        ]
        for hash_ in hashes:
            receipt = self.web3.eth.wait_for_transaction_receipt(hash_, timeout=20, poll_latency=0.05)
            require(receipt["status"] == 1, f"A set-up transaction on rollup {self.chain_id} was reverted.")

    def sign_load(self) -> None:
        """Signs everything the traders will send: an approval each, then transfers and swaps in both directions."""
        queues = []
        for place, trader in enumerate(self.traders):
            calls = [(self.token.functions.approve(self.exchange.address, 2**256 - 1), 0)]
            for at in range(1, TRANSACTIONS_PER_TRADER):
                friend = self.traders[(place + at) % len(self.traders)].address
                if at % 3 == 0:
                    calls.append((self.token.functions.transfer(friend, at * ETHER // 10), 0))
                elif at % 3 == 1:
                    calls.append((self._swap(True, ETHER, trader.address), 0))
                else:
                    calls.append((self._swap(False, ETHER // 10, trader.address), ETHER // 10))
            queues.append([self._sign(trader, at, call, value, 200_000) for at, (call, value) in enumerate(calls)])
        self.signed = [raw for step in zip(*queues, strict=True) for raw in step]

    def read_back(self) -> None:
        """Checks that state and receipts agree with what was sent. Raises DemoFailure."""
        call = self.token.functions
        holders = [self.owner.address, *(trader.address for trader in self.traders), self.exchange.address]
        supply = call.totalSupply().call()
        held = sum(call.balanceOf(holder).call() for holder in holders)
        require(supply == held, f"Rollup {self.chain_id}: {held} tokens are held, the supply is {supply}.")
        reserve = self.exchange.functions.reserveBase().call()
        require(
            reserve == call.balanceOf(self.exchange.address).call(), f"Rollup {self.chain_id}: the reserves do not fit."
        )
        product = reserve * self.exchange.functions.reserveQuote().call()
        require(product >= 500 * ETHER * 50 * ETHER, f"Rollup {self.chain_id}: the exchange lost liquidity.")
        for trader in self.traders:
            nonce = self.web3.eth.get_transaction_count(trader.address)
            require(nonce == TRANSACTIONS_PER_TRADER, f"Rollup {self.chain_id}: {trader.address} has nonce {nonce}.")

    def _deploy(self, name: str, *arguments: Any) -> Contract:
        compiled = artifact(name)
        factory = self.web3.eth.contract(abi=compiled.abi, bytecode=compiled.creation_code)
        nonce = self.web3.eth.get_transaction_count(self.owner.address)
        transaction = factory.constructor(*arguments).build_transaction(self._fields(self.owner, nonce, 3_000_000))
        hash_ = self.web3.eth.send_raw_transaction(self.owner.sign_transaction(transaction).raw_transaction)
        receipt = self.web3.eth.wait_for_transaction_receipt(hash_, timeout=20, poll_latency=0.05)
        require(receipt["status"] == 1, f"{name} could not be deployed on rollup {self.chain_id}.")
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=compiled.abi)

    def _swap(self, sell_base: bool, amount: int, to: str) -> Any:
        return self.exchange.functions.swap(sell_base, amount, 1, to, FOREVER_S)

    def _fields(self, account: LocalAccount, nonce: int, gas: int) -> dict[str, Any]:
        return {"chainId": self.chain_id, "from": account.address, "nonce": nonce, "gas": gas, **PRICE}

    def _sign(self, account: LocalAccount, nonce: int, call: Any, value: int, gas: int) -> bytes:
        transaction = call.build_transaction({**self._fields(account, nonce, gas), "value": value})
        return bytes(account.sign_transaction(transaction).raw_transaction)


class Follower:
    """Follows decided sub-blocks and notes when each of our transactions was decided and sealed."""

    def __init__(self, sent: dict[str, Sent]) -> None:
        self.sent = sent
        self.sub_blocks: list[dict[str, Any]] = []
        self.blocks: dict[int, dict[int, str]] = {}
        self.complete = asyncio.Event()
        """Set when everything has been sent."""
        self._open: dict[int, list[Sent]] = {}

    async def follow(self, client: Client, started: asyncio.Event) -> None:
        """Runs until every sent transaction's block is sealed."""
        async for sub_block in client.subscribe("plait_subscribe", "subBlocks"):
            now = time.monotonic()
            started.set()
            self.sub_blocks.append(sub_block)
            for part in sub_block["rollups"]:
                rollup_id = part["rollupId"]
                if part["sealed"]:
                    self.blocks.setdefault(rollup_id, {}).update({one["number"]: one["hash"] for one in part["sealed"]})
                    for one in self._open.pop(rollup_id, []):
                        one.sealed_at = now
                mine = [self.sent[hash_] for hash_ in part["transactions"] if hash_ in self.sent]
                for one in mine:
                    one.decided_at = now
                self._open.setdefault(rollup_id, []).extend(mine)
            if self.sent and all(one.sealed_at for one in self.sent.values()) and self.complete.is_set():
                return


async def run(data_dir: Path) -> None:
    """The whole demonstration."""
    began = time.monotonic()
    node, ready = await start_node(data_dir)
    try:
        print(
            f"Started {len(ready['rollups'])} rollups on one sequencer: slots of {ready['slotMs']} ms, "
            f"a sub-block every {ready['slotMs'] // ready['subBlocksPerSlot']} ms ({time.monotonic() - began:.1f} s)"
        )
        accounts = [Account.from_key(one["privateKey"]) for one in ready["accounts"]]
        markets = [Market(rollup, accounts) for rollup in ready["rollups"]]
        await asyncio.gather(*(asyncio.to_thread(market.deploy) for market in markets))
        for market in markets:
            print(f"  rollup {market.chain_id}: token {market.token.address}, exchange {market.exchange.address}")
        for market in markets:
            await asyncio.to_thread(market.sign_load)
        count = sum(len(market.signed) for market in markets)
        print(f"Contracts deployed and {count} transactions signed ({time.monotonic() - began:.1f} s)")
        async with Client(ready["url"]) as client:
            follower = await send_and_follow(client, markets)
            await check_receipts(client, markets, follower)
        await asyncio.gather(*(asyncio.to_thread(market.read_back) for market in markets))
        report(markets, follower)
    finally:
        code = await stop_node(node)
    require(code == 0, f"The node ended with exit code {code} instead of stopping cleanly.")
    await verify_log(data_dir)
    print(f"All of it holds. {time.monotonic() - began:.1f} s in all.")


async def start_node(data_dir: Path) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """The node as a process of its own, and what it prints when it is ready."""
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plait.cli.main", "devnet", "--rollups", "2", "--port", "0", "--rollup-port-base", "0"),
        *("--data-dir", str(data_dir), "--log-level", "warning", "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert node.stdout is not None
    line = await asyncio.wait_for(node.stdout.readline(), 30)
    require(bool(line), f"The node did not start (exit code {await node.wait() if not line else 0}).")
    ready: dict[str, Any] = msgspec.json.decode(line)
    require(ready.get("event") == "ready", f"The node did not start: {ready.get('error', {}).get('message', ready)}")
    return node, ready


async def stop_node(node: asyncio.subprocess.Process) -> int:
    """Stops it as Ctrl-C does."""
    if node.returncode is None:
        node.send_signal(signal.SIGINT)
    try:
        return await asyncio.wait_for(node.wait(), 15)
    except TimeoutError:
        node.kill()
        return await node.wait()


async def send_and_follow(client: Client, markets: list[Market]) -> Follower:
    """Sends every signed transaction in batches at a steady pace and waits until all are sealed."""
    sent: dict[str, Sent] = {}
    follower = Follower(sent)
    started = asyncio.Event()

    async def send(market: Market) -> None:
        rollup = client.at(str(market.chain_id))
        size = -(-len(market.signed) // BATCHES)
        for at in range(0, len(market.signed), size):
            batch = market.signed[at : at + size]
            hashes = [Web3.to_hex(Web3.keccak(raw)) for raw in batch]
            now = time.monotonic()
            sent.update({hash_: Sent(now) for hash_ in hashes})
            answers = await rollup.batch([("eth_sendRawTransaction", (Web3.to_hex(raw),)) for raw in batch])
            for answer in answers:
                if isinstance(answer, RpcError):
                    raise DemoFailure(f"Rollup {market.chain_id} refused a transaction: {answer.message}")
            await asyncio.sleep(max(0.0, now + BATCH_EVERY_S - time.monotonic()))

    async with asyncio.timeout(40):
        following = asyncio.create_task(follower.follow(client, started))
        await started.wait()
        await asyncio.gather(*(send(market) for market in markets))
        follower.complete.set()
        await following
    return follower


async def check_receipts(client: Client, markets: list[Market], follower: Follower) -> None:
    """Every receipt says success and names a block that a sub-block sealed with the same hash."""
    for market in markets:
        hashes = [Web3.to_hex(Web3.keccak(raw)) for raw in market.signed]
        receipts = await client.at(str(market.chain_id)).batch(
            [("eth_getTransactionReceipt", (one,)) for one in hashes]
        )
        for hash_, receipt in zip(hashes, receipts, strict=True):
            require(isinstance(receipt, dict), f"Rollup {market.chain_id} has no receipt of {hash_}.")
            require(receipt["status"] == "0x1", f"Transaction {hash_} on rollup {market.chain_id} was reverted.")
            sealed = follower.blocks[market.chain_id].get(int(receipt["blockNumber"], 16))
            require(sealed == receipt["blockHash"], f"The receipt of {hash_} names another block than was sealed.")


def report(markets: list[Market], follower: Follower) -> None:
    """What was ordered, decided and sealed."""
    busy = [one for one in follower.sub_blocks if any(part["transactions"] for part in one["rollups"])]
    slots = sorted({one["slot"] for one in busy})
    print(
        f"\nOrdered in {len(busy)} sub-blocks of {len(slots)} slots (heights {busy[0]['height']} to "
        f"{busy[-1]['height']}, slots {slots[0]} to {slots[-1]})\napp hash {follower.sub_blocks[-1]['appHash']}"
    )
    print("\nrollup  transactions   decided p50   p95      sealed p50   p95      blocks")
    for market in markets:
        mine = [follower.sent[Web3.to_hex(Web3.keccak(raw))] for raw in market.signed]
        decided = sorted(1_000 * (one.decided_at - one.sent_at) for one in mine)
        sealed = sorted(1_000 * (one.sealed_at - one.sent_at) for one in mine)
        numbers = follower.blocks[market.chain_id]
        print(f"{market.chain_id:<7} {len(mine):<14} {at(decided, 50):>6.0f} ms {at(decided, 95):>7.0f} ms "
              f"{at(sealed, 50):>10.0f} ms {at(sealed, 95):>7.0f} ms   {min(numbers)} to {max(numbers)}")  # fmt: skip
    print()
    for market in markets:
        numbers = follower.blocks[market.chain_id]
        for number in sorted(numbers)[-3:]:
            print(f"rollup {market.chain_id} block {number}  {numbers[number]}")
    print()


def at(values: list[float], percent: int) -> float:
    """A percentile of sorted values."""
    return values[min(len(values) * percent // 100, len(values) - 1)]


async def verify_log(data_dir: Path) -> None:
    """Replays the decided log in a process of its own."""
    check = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plait.cli.main", "verify-log", "--data-dir", str(data_dir), "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await check.communicate()
    found = msgspec.json.decode(output) if output else {}
    require(check.returncode == 0, f"Replaying the log found a difference: {found.get('difference', found)}")
    print(
        f"Log replayed from genesis: {found['heights']} sub-blocks, {found['transactions']} transactions, "
        "every root equal."
    )


def main() -> int:
    """Runs the demonstration; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="plait-demo-") as directory:
        try:
            asyncio.run(run(Path(directory)))
        except DemoFailure as failure:
            print(f"The demonstration failed: {failure}", file=sys.stderr)
        except Exception as error:
            print(f"The demonstration failed: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
