"""Four real validators over a real L1 take a chain in while they run; one that lacks it stops at the join, and comes
back when it has it."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "integration" / "l1"), str(ROOT / "tests" / "e2e" / "network")]

from anvil_l1 import NOBODY, WALLET, Anvil, RollupOnL1, calldata  # noqa: E402
from running_network import require_cometbft  # noqa: E402
from test_validators_on_l1 import DEPOSIT, mined, network_on, until  # noqa: E402

from plait.client import Client, NodeUnreachable, RpcError  # noqa: E402
from plait.client.ledger import act  # noqa: E402
from plait.derivation.l1_facts import L1BlockFacts  # noqa: E402
from plait.derivation.rollup_config import encode_config  # noqa: E402
from plait.l1.client import L1Client  # noqa: E402
from plait.l1.facts import block_facts  # noqa: E402
from plait.l1.fees import DEVELOPMENT_SCHEDULE  # noqa: E402
from plait.l1.receipts import logs_of  # noqa: E402
from plait.ledger.parameters import TOKEN  # noqa: E402
from plait.node.config import AccountConfig  # noqa: E402
from plait.node.remotes import IMPORTS  # noqa: E402
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS  # noqa: E402
from plait.testnet.supervisor import Supervisor  # noqa: E402
from plait.types import Amount, BlockNumber, RollupId, Seconds, Slot  # noqa: E402
from plait.types.action import AnchorRollup, BindRollup, Body  # noqa: E402
from sim.l1_joining import CHAIN, StockChain  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.cometbft, pytest.mark.node_js]

OWNER = DEVELOPMENT_ACCOUNTS[5]
LACKS = "node4"


class SeenL1:
    """A real L1 as the chain's own sequencer reads it."""

    def __init__(self, client: L1Client) -> None:
        self._client = client
        self.blocks: list[L1BlockFacts] = []
        self.rollup: RollupOnL1 | None = None

    @property
    def head(self) -> L1BlockFacts:
        return self.blocks[-1]

    def block(self, number: int) -> L1BlockFacts:
        return self.blocks[number - self.blocks[0].number]

    async def read(self) -> None:
        """Up to the L1's head."""
        head = await self._client.header("latest")
        assert head is not None
        first = self.head.number + 1 if self.blocks else head.number
        bindings = [] if self.rollup is None else [self.rollup.config]
        for number in range(first, head.number + 1):
            header = await self._client.header(BlockNumber(number))
            assert header is not None
            logs = logs_of(await self._client.receipts(header))
            self.blocks.append(block_facts(header, logs, bindings, DEVELOPMENT_SCHEDULE)[0])


class Joining:
    """The network, the chain beside it, and what its owner does."""

    def __init__(self, supervisor: Supervisor, chain: StockChain, seen: SeenL1) -> None:
        self.supervisor, self.chain, self.seen = supervisor, chain, seen
        self.sequences = True

    def url(self, node: str) -> str:
        return str(self.supervisor.members[node].description["url"])

    async def call(self, method: str, *arguments: Any, node: str = "node1") -> Any:
        async with Client(self.url(node), timeout_s=20) as client:
            return await client.call(method, *arguments)

    async def act(self, body: Body) -> None:
        async with Client(self.url("node1"), timeout_s=20) as client:
            await act(client, OWNER.private_key, body, wait_s=60)

    async def entry(self) -> dict[str, Any]:
        found = await self.call("plait_getRollups")
        return next(one for one in found["rollups"] if one["rollupId"] == CHAIN)

    async def sequence(self) -> None:
        """What the chain's own sequencer does all the time."""
        while True:
            if self.sequences:
                await self.seen.read()
                self.chain.sequence(int(time.time()))
            await asyncio.sleep(0.5)

    async def deposits(self, node: str) -> int:
        """Of users, in all blocks of the chain."""
        async with Client(f"{self.url(node)}/{CHAIN}", timeout_s=20) as client:
            head = int(await client.call("eth_blockNumber"), 16)
            blocks = await client.batch([("eth_getBlockByNumber", (hex(at), True)) for at in range(1, head + 1)])
        return [one["type"] for block in blocks for one in block["transactions"][1:]].count("0x7e")

    async def hashes(self, node: str, first: int, last: int) -> list[str]:
        try:
            async with Client(f"{self.url(node)}/{CHAIN}", timeout_s=20) as client:
                blocks = await client.batch(
                    [("eth_getBlockByNumber", (hex(at), False)) for at in range(first, last + 1)]
                )
                return [block["hash"] for block in blocks if block]
        except (NodeUnreachable, RpcError):
            return []


async def test_validators_take_a_chain_in_and_one_without_it_stops_and_comes_back(tmp_path: Path) -> None:
    require_cometbft()
    anvil = Anvil(tmp_path / "anvil")
    anvil.start()
    directory = tmp_path / "network"
    directory.mkdir()
    try:
        async with mined(anvil), L1Client(anvil.url) as client:
            accounts = (AccountConfig(address=OWNER.address_text, balance=10_000 * TOKEN),)
            layout, _ = await network_on(anvil, directory, [anvil.url] * 4, accounts)
            rollup = await asyncio.to_thread(RollupOnL1, anvil, int(CHAIN))
            seen = SeenL1(client)
            await seen.read()
            seen.rollup = rollup
            chain = StockChain(seen, RollupId(CHAIN), Seconds(max(int(time.time()), seen.head.timestamp)))  # type: ignore[arg-type]
            contracts = {name: getattr(rollup.config, name) for name in ("deposit_contract", "system_config_contract")}
            chain.config = msgspec.structs.replace(chain.config, **contracts)
            async with Supervisor.running(directory, layout) as supervisor:
                joining = Joining(supervisor, chain, seen)
                sequencer = asyncio.create_task(joining.sequence())
                try:
                    await _join(joining, anvil, rollup, tmp_path / "copy", directory)
                finally:
                    sequencer.cancel()
                    await asyncio.gather(sequencer, return_exceptions=True)
    finally:
        anvil.stop()


async def _join(joining: Joining, anvil: Anvil, rollup: RollupOnL1, copy: Path, directory: Path) -> None:
    chain, supervisor = joining.chain, joining.supervisor
    await joining.act(
        BindRollup(
            rollup_id=CHAIN,
            config=encode_config(chain.config),
            ordering=0,
            revenue_recipient=OWNER.address,
            escrow=Amount(200 * TOKEN),
            fee_per_slot_max=Amount(TOKEN),
            fee_per_transaction_max=Amount(TOKEN),
        )
    )
    bound = (await joining.entry())["joining"]["boundNumber"]
    deposit = calldata(DEPOSIT, "0x" + NOBODY.hex(), 0, 100_000, False, b"")
    anvil.send(WALLET, rollup.portal, deposit)

    async def past() -> bool:
        return len(chain.made) > 1 and chain.made[-1].origin.block.number > bound + 1

    await until(past, "the chain goes on past the binding")
    joining.sequences = False
    await asyncio.sleep(1)
    anchor = chain.copy_to(copy)
    for node in supervisor.members:
        if node != LACKS:
            shutil.copytree(copy, directory / node / IMPORTS / str(int(CHAIN)))

    await asyncio.sleep(4)  # the network agrees on the anchor's L1 origin
    slot = (await joining.call("plait_slot"))["slot"]
    await joining.act(AnchorRollup(rollup_id=CHAIN, anchor=anchor.encode(), join_slot=Slot(slot + 30)))
    anvil.send(WALLET, rollup.portal, deposit)

    async def active() -> bool:
        return bool((await joining.entry())["status"] == "active")

    await until(active, "the chain joins", 120)
    number = anchor.block.number + 20

    async def goes_on() -> bool:
        found = [await joining.hashes(node, number, number) for node in ("node1", "node2", "node3")]
        return all(found) and len({one[0] for one in found}) == 1

    await until(goes_on, "three validators have the same blocks of the chain", 120)
    code = await asyncio.wait_for(supervisor.members[LACKS].ended(), 60)
    assert code not in (0, None)
    assert "rollup_import_missing" in supervisor.members[LACKS].last_words()
    shutil.copytree(copy, directory / LACKS / IMPORTS / str(int(CHAIN)))
    await supervisor.start(LACKS)

    async def back() -> bool:
        found = await joining.hashes(LACKS, number, number)
        return bool(found) and found == await joining.hashes("node1", number, number)

    await until(back, "the fourth validator comes back", 120)
    assert await joining.hashes(LACKS, anchor.block.number, anchor.block.number) == ["0x" + anchor.block.hash.hex()]

    async def both_arrived() -> bool:
        return [await joining.deposits(node) for node in supervisor.members] == [2] * 4

    await until(both_arrived, "the deposit before the anchor and the one after it are in the chain, once each")
