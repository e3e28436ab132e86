"""A `plait devnet` process that can be killed at any moment, and the memory of everything it ever reported."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from forked import Forked

from plait.cli.main import main
from plait.client import Client, NodeUnreachable, RpcError
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from sim.wallet import Wallet

ROOT = Path(__file__).resolve().parents[3]
CHAINS = (901, 902)
T = TypeVar("T")
OWN_INTERPRETER = 0.2
"""Of all starts; the others are forked."""
_POLL_S = 0.05


class Reported:
    """What clients were told, over all runs. A contradiction is an assertion error at once."""

    def __init__(self) -> None:
        self.sub_blocks: dict[int, dict[str, Any]] = {}
        self.places: dict[str, tuple[int, int, int]] = {}
        """Transaction -> (rollup, height, block number)."""
        self.blocks: dict[tuple[int, int], str] = {}

    def sub_block(self, found: dict[str, Any]) -> None:
        """Notes a decided sub-block as the stream or plait_getSubBlock showed it."""
        known = self.sub_blocks.setdefault(found["height"], found)
        assert known == found, f"height {found['height']} was reported differently before: {known} now {found}"
        for part in found["rollups"]:
            for sealed in part["sealed"]:
                place = (part["rollupId"], sealed["number"])
                assert self.blocks.setdefault(place, sealed["hash"]) == sealed["hash"], f"block {place} has changed"

    def status(self, found: dict[str, Any] | None) -> None:
        """Notes a transaction that was reported as decided or sealed."""
        if found is not None and found["level"] in {"decided", "sealed"}:
            place = (found["rollupId"], found["height"], found["blockNumber"])
            known = self.places.setdefault(found["hash"], place)
            assert known == place, f"{found['hash']} was reported at {known}, now at {place}"


class KilledNode:
    """One run of the node: started, loaded, killed. Subclasses load it with something else."""

    options: tuple[str, ...] = ("--sub-blocks", "50", "--snapshot-every", "400")
    """Of `plait devnet`."""

    def __init__(self, data_dir: Path, reported: Reported, wallets: list[Wallet], source: random.Random) -> None:
        self.data_dir = data_dir
        self.reported = reported
        self.wallets = wallets
        self.source = source
        self.ready_s = 0.0
        self.in_use = asyncio.Event()
        """Set when the check after the start is done and the load begins, or when the node is gone."""
        self._process: Forked | asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts the process, sometimes in an interpreter of its own; it need not be ready afterwards."""
        self._began = time.monotonic()
        arguments = ["devnet", "--data-dir", str(self.data_dir), "--json", "--port", "0", "--rollup-port-base", "0"]
        arguments += ["--log-level", "error", *self.options]
        if self.source.random() < OWN_INTERPRETER:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "plait.cli.main", *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT
            )
        else:
            self._process = Forked(main, arguments)

    def kill(self) -> None:
        """SIGKILL: no handler, no flush, no goodbye."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)

    async def ended(self) -> int:
        """The exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def url(self) -> str:
        """Address of the ready node. Raises NodeUnreachable when it ended before."""
        assert self._process is not None
        if isinstance(self._process, Forked):
            line = await self._process.readline()
        else:
            assert self._process.stdout is not None
            line = await self._process.stdout.readline()
        if not line:
            raise NodeUnreachable("the node ended before it was ready")
        found = msgspec.json.decode(line)
        assert found.get("event") == "ready", f"the node did not start again: {found}"
        return str(found["url"])

    async def use_and_kill(self, *, least_s: float, most_s: float) -> None:
        """Starts it, loads it and kills it: sometimes while it starts, mostly `least_s` to `most_s` into the load."""
        await self.start()
        early = self.source.random() < 0.15
        using = asyncio.create_task(self.use(seconds=30))
        try:
            if early:
                await asyncio.wait([using], timeout=self.source.random() * 1.2)
            else:
                await self.in_use.wait()
                await asyncio.wait([using], timeout=least_s + self.source.random() * (most_s - least_s))
        finally:
            self.kill()
            code = await self.ended()
        await using
        assert code == -9, f"the node ended by itself with exit code {code}"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Client]:
        """Starts it, and kills it at the end of the block whatever happened there."""
        await self.start()
        try:
            async with Client(await self.url()) as client:
                await client.wait_ready(30)
                yield client
        finally:
            self.kill()
            await self.ended()

    async def use(self, *, seconds: float) -> None:
        """Checks that everything reported is still there, then loads the node and notes what it reports."""
        try:
            async with Client(await self.url()) as client:
                await client.wait_ready(30)
                self.ready_s = time.monotonic() - self._began
                await self.check(client, everything=False)
                self.in_use.set()
                async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                    group.create_task(self._follow(client))
                    for load in self.loads(client):
                        group.create_task(load)
        except* NodeUnreachable:
            pass  # it was killed, as planned
        finally:
            self.in_use.set()

    def loads(self, client: Client) -> list[Coroutine[Any, Any, None]]:
        """What goes on until the node is killed."""
        return [self._load(client, chain_id) for chain_id in CHAINS]

    async def check(self, client: Client, *, everything: bool) -> None:
        """Asks again about what was reported: all of it, or a sample with all of the newest."""
        heights = sorted(self.reported.sub_blocks)
        hashes = list(self.reported.places)
        if not everything:
            heights = sorted({*heights[-60:], *self.source.sample(heights, min(len(heights), 20))})
            hashes = [*hashes[-100:], *self.source.sample(hashes, min(len(hashes), 30))]
        for height, found in zip(
            heights, await client.batch([("plait_getSubBlock", (h,)) for h in heights]), strict=True
        ):
            assert isinstance(found, dict), f"height {height} was reported as decided and is lost: {found}"
            self.reported.sub_block(found)
        calls = [("plait_getTransactionStatus", (h, self.reported.places[h][0])) for h in hashes]
        for hash_, status in zip(hashes, await client.batch(calls), strict=True):
            assert isinstance(status, dict), f"{hash_} was reported as decided and is lost: {status}"
            assert status["level"] in {"decided", "sealed"}, f"{hash_} was reported as decided, now {status}"
            self.reported.status(status)

    async def _follow(self, client: Client) -> None:
        async for sub_block in client.subscribe("plait_subscribe", "subBlocks"):
            self.reported.sub_block(sub_block)

    async def _load(self, client: Client, chain_id: int) -> None:
        rollup = client.at(str(chain_id))
        addresses = ["0x" + wallet.address.hex() for wallet in self.wallets]
        counts = await rollup.batch([("eth_getTransactionCount", (address, "pending")) for address in addresses])
        nonces = [int(str(count), 16) for count in counts]
        sent: list[str] = []
        while True:
            raws = []
            for _ in range(self.source.randrange(1, 12)):
                at = self.source.randrange(len(self.wallets))
                raw = self.wallets[at].sign_1559(
                    chain_id, nonces[at], to=self.source.randbytes(20), value=1, max_fee_per_gas=10**11
                )
                nonces[at] += 1
                raws.append("0x" + raw.hex())
            sent.extend(await answers(rollup, [("eth_sendRawTransaction", (raw,)) for raw in raws]))
            asked = self.source.sample(sent, min(len(sent), 10))
            for status in await client.batch([("plait_getTransactionStatus", (one, chain_id)) for one in asked]):
                assert not isinstance(status, RpcError), status
                self.reported.status(status)
            await asyncio.sleep(self.source.random() * 0.03)


def development_wallets() -> list[Wallet]:
    """Wallets of the ten development accounts."""
    return [Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS]


async def answers(client: Client, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
    """Results of calls none of which may fail."""
    found = await client.batch(calls)
    failed = [one.message for one in found if isinstance(one, RpcError)]
    assert not failed, failed
    return found


async def until(question: Callable[[], Awaitable[T]], *, seconds: float = 20) -> T:
    """The first true answer."""
    for _ in range(int(seconds / _POLL_S)):
        if found := await question():
            return found
        await asyncio.sleep(_POLL_S)
    raise AssertionError(f"not within {seconds} s")


async def block_sealed(rollup: Client, number: int) -> None:
    """Returns when the rollup's block is sealed."""

    async def sealed() -> bool:
        return int(await rollup.call("eth_blockNumber"), 16) >= number

    await until(sealed)
