"""Users of a network: plain transactions and two-leg bundles through all nodes, and the memory of what was reported.

Each user has a key of its own and a node it prefers; when that one does not answer, it goes to the next. What a node
reported as decided is remembered with its place, and every node's stream of sub-blocks with its hashes: a
contradiction is an assertion error at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from running_network import NODES, PATIENT_S, Network

from plait.client import Bundle, BundleDropped, Client, NodeUnreachable, RpcError
from plait.errors import PlaitError
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from sim.wallet import Wallet

BURST = 10
"""Transactions that a user sends at once."""
PATIENCE_S = 8
"""How long a user waits for its transactions before it looks anew."""
_FEE = 10**11


class Load:
    """All users and all followers of one network."""

    def __init__(self, network: Network, seed: int) -> None:
        self.network = network
        self.source = random.Random(seed)
        self.acknowledged = 0
        self.decided: dict[str, tuple[int, int, int]] = {}
        """Transaction -> (rollup, height, block number), as some node reported it."""
        self.bundles: dict[str, list[str]] = {}
        """Decided bundle -> its transactions."""
        self.app_hashes: dict[int, str] = {}
        self.seen_at_s: dict[str, dict[int, float]] = {name: {} for name in NODES}
        """Node -> height -> when its stream showed it (monotonic)."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Load]:
        """Sends and follows within the block."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._follow(name)) for name in NODES]
            for at, name in enumerate(NODES):
                tasks.append(group.create_task(self._send(at, name)))
                tasks.append(group.create_task(self._bundle(at + len(NODES), name)))
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()

    # ------------------------------------------------------------ users
    async def _send(self, account: int, preferred: str) -> None:
        wallet = Wallet(DEVELOPMENT_ACCOUNTS[account].private_key)
        for name, chain_id in zip(self._from(preferred), itertools.cycle(self.network.rollups), strict=False):
            with contextlib.suppress(NodeUnreachable, RpcError):
                async with Client(self.network.urls[name], timeout_s=3) as client:
                    while True:
                        hashes = await self._burst(client, wallet, chain_id)
                        await self._decided(client, hashes, chain_id)
            await asyncio.sleep(0.2)

    async def _burst(self, client: Client, wallet: Wallet, chain_id: int) -> list[str]:
        rollup = client.at(str(chain_id))
        nonce = int(await rollup.call("eth_getTransactionCount", "0x" + wallet.address.hex(), "pending"), 16)
        raws = [
            wallet.sign_1559(chain_id, nonce + at, to=self.source.randbytes(20), value=1, max_fee_per_gas=_FEE)
            for at in range(BURST)
        ]
        answers = await rollup.batch([("eth_sendRawTransaction", ("0x" + raw.hex(),)) for raw in raws])
        hashes = [one for one in answers if not isinstance(one, RpcError)]
        self.acknowledged += len(hashes)
        return hashes

    async def _decided(self, client: Client, hashes: list[str], chain_id: int) -> None:
        """Waits for them and notes what the node reports; gives up when it takes too long."""
        waiting, end = hashes, time.monotonic() + PATIENCE_S
        while waiting and time.monotonic() < end:
            await asyncio.sleep(0.15)
            found = await client.batch([("plait_getTransactionStatus", (one, chain_id)) for one in waiting])
            waiting = [one for one, status in zip(waiting, found, strict=True) if not self._note(status)]
        if waiting:
            raise NodeUnreachable("transactions stay undecided")

    def _note(self, status: Any) -> bool:
        if not isinstance(status, dict) or status.get("level") not in {"decided", "sealed"}:
            return False
        place = (status["rollupId"], status["height"], status["blockNumber"])
        known = self.decided.setdefault(status["hash"], place)
        assert known == place, f"{status['hash']} was reported at {known}, now at {place}"
        return True

    async def _bundle(self, account: int, preferred: str) -> None:
        wallet = Wallet(DEVELOPMENT_ACCOUNTS[account].private_key)
        address = "0x" + wallet.address.hex()
        for name in self._from(preferred):
            with contextlib.suppress(PlaitError):
                async with Client(self.network.urls[name], timeout_s=3) as client:
                    while True:
                        bundle = Bundle()
                        for chain_id in self.network.rollups[:2]:
                            count = await client.at(str(chain_id)).call("eth_getTransactionCount", address, "latest")
                            pending = await client.at(str(chain_id)).call("eth_getTransactionCount", address, "pending")
                            nonce = max(int(count, 16), int(pending, 16))
                            bundle.leg(
                                chain_id,
                                wallet.sign_1559(
                                    chain_id, nonce, to=self.source.randbytes(20), value=1, max_fee_per_gas=_FEE
                                ),
                            )
                        await self._follow_bundle(client, bundle)
            await asyncio.sleep(0.2)

    async def _follow_bundle(self, client: Client, bundle: Bundle) -> None:
        hash_ = await client.send(bundle)
        try:
            status = await bundle.wait("decided", timeout_s=PATIENCE_S)
        except BundleDropped:
            return
        self.bundles[hash_] = [one for leg in status["legs"] for one in leg["transactions"]]

    def _from(self, preferred: str) -> itertools.cycle[str]:
        at = NODES.index(preferred)
        return itertools.cycle([*NODES[at:], *NODES[:at]])

    # ------------------------------------------------------------ followers
    async def _follow(self, name: str) -> None:
        while True:
            with contextlib.suppress(NodeUnreachable, RpcError):
                async with Client(self.network.urls[name]) as client:
                    async for found in client.subscribe("plait_subscribe", "subBlocks"):
                        self._sub_block(name, found)
            await asyncio.sleep(0.2)

    def _sub_block(self, name: str, found: dict[str, Any]) -> None:
        height, app_hash = found["height"], found["appHash"]
        known = self.app_hashes.setdefault(height, app_hash)
        assert known == app_hash, f"{name} decided {app_hash} at height {height}, another node {known}"
        self.seen_at_s[name].setdefault(height, time.monotonic())

    def longest_pause_s(self, since_s: float, nodes: tuple[str, ...]) -> float:
        """Between two decided heights since then, whichever of the nodes showed them first."""
        first: dict[int, float] = {}
        for name in nodes:
            for height, at in self.seen_at_s[name].items():
                first[height] = min(at, first.get(height, at))
        times = sorted([since_s, *(at for at in first.values() if at > since_s), time.monotonic()])
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    # ------------------------------------------------------------ afterwards
    async def require_kept(self) -> None:
        """Everything that some node reported as decided is at the same place on every node."""
        assert self.decided, "nothing was decided under load"
        for name in NODES:
            async with Client(self.network.urls[name], timeout_s=PATIENT_S) as client:
                for rollup in self.network.rollups:
                    hashes = [one for one, place in self.decided.items() if place[0] == rollup]
                    calls = [("plait_getTransactionStatus", (one, rollup)) for one in hashes]
                    for hash_, status in zip(hashes, await client.batch(calls), strict=True):
                        assert self._note(status), f"{name} does not know {hash_}, which was decided: {status}"
                hashes = [one for legs in self.bundles.values() for one in legs]
                for hash_, status in zip(
                    hashes, await client.batch([("plait_getTransactionStatus", (one,)) for one in hashes]), strict=True
                ):
                    assert isinstance(status, dict), f"{name} does not know {hash_} of a decided bundle: {status}"
                    assert status["level"] in {"decided", "sealed"}, f"{name}: {hash_} of a decided bundle is {status}"
