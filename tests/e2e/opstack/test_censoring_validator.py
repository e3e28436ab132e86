"""One of four real validators censors deposits: the others refuse its proposals by name, the deposits arrive where they
belong, and the chain goes on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "integration" / "l1"), str(ROOT / "tests" / "e2e" / "network")]

from anvil_l1 import NOBODY, WALLET, Anvil, calldata  # noqa: E402
from running_network import require_cometbft  # noqa: E402
from test_validators_on_l1 import DEPOSIT, ROLLUP, Validators, mined, network_on, until  # noqa: E402

from plait.client import Client  # noqa: E402
from plait.derivation.l1_info import L1Attributes, decode_l1_attributes_data  # noqa: E402
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS  # noqa: E402
from plait.testnet.supervisor import Supervisor, node_command  # noqa: E402
from plait.types.consensus import consensus_address  # noqa: E402
from sim.wallet import Wallet  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.cometbft]

HERE = Path(__file__).resolve().parent
NAMES = ("node1", "node2", "node3", "node4")
CENSOR = "node3"
HONEST = tuple(name for name in NAMES if name != CENSOR)


class Censored(NamedTuple):
    """A running network with a censor among its validators."""

    anvil: Anvil
    portal: str
    supervisor: Supervisor
    validators: Validators

    def deposit(self, amount: int) -> str:
        """Hands a deposit of `amount` wei in on L1; the hash of its L1 transaction."""
        data = calldata(DEPOSIT, "0x" + NOBODY.hex(), 0, 100_000, False, b"")
        return self.anvil.send(WALLET, self.portal, data, amount)

    def refusals(self, node: str, code: str) -> list[dict[str, Any]]:
        """Lines of a node's log that refuse a proposal of the censor with a code."""
        key = next(one.public_key for one in self.supervisor.layout.nodes if one.name == CENSOR)
        proposer = "0x" + consensus_address(bytes.fromhex(key[2:])).hex()
        log = (self.supervisor.members[node].home / "node.log").read_text()
        found = [json.loads(line) for line in log.splitlines() if '"proposal_rejected"' in line]
        return [one for one in found if (one["code"], one["proposer"]) == (code, proposer)]

    async def call(self, node: str, method: str, *params: Any) -> Any:
        url = self.supervisor.members[node].description["url"]
        async with Client(f"{url}/{ROLLUP}", timeout_s=20) as client:
            return await client.call(method, *params)

    async def height(self) -> int:
        """That all nodes have decided."""
        return min([(await self.call(name, "plait_slot"))["height"] for name in NAMES])

    async def goes_on(self, heights: int = 4) -> None:
        """All nodes decide so many heights more, and agree on all of them and on every block."""
        wanted = await self.height() + heights

        async def decided() -> bool:
            return await self.height() >= wanted

        await until(decided, f"all nodes decide height {wanted}", 60)
        app_hashes = [[await self.call(name, "plait_getSubBlock", at) for at in range(1, wanted)] for name in NAMES]
        for found in app_hashes:
            assert [one["appHash"] for one in found] == [one["appHash"] for one in app_hashes[0]]
        chains = await self.validators.all_blocks()
        common = min(map(len, chains))
        for chain in chains:
            assert [one["hash"] for one in chain[:common]] == [one["hash"] for one in chains[0][:common]]

    async def arrive(self, deposits: Sequence[str]) -> None:
        """Every deposit is on every node, each in the first block of its L1 block."""
        receipts: list[Any] = [None]
        while None in receipts:  # the last one waits for the next L1 block
            await asyncio.sleep(0.2)
            receipts = [await asyncio.to_thread(self.anvil.receipt, one) for one in deposits]
        wanted = sorted(int(receipt["blockNumber"], 16) for receipt in receipts)

        async def there() -> bool:
            return all(_deposited(chain) == wanted for chain in await self.validators.all_blocks())

        await until(there, f"the deposits of L1 blocks {wanted} are in the first blocks of those", 90)


def _origin(block: dict[str, Any]) -> L1Attributes:
    return decode_l1_attributes_data(bytes.fromhex(block["transactions"][0]["input"][2:]))


def _deposited(blocks: Sequence[dict[str, Any]]) -> list[int]:
    """L1 block of every deposit; it is that of the block that holds it, the first one of this origin."""
    found = []
    for block in blocks[1:]:
        attributes = _origin(block)
        deposits = [one for one in block["transactions"][1:] if one["type"] == "0x7e"]
        assert not deposits or attributes.sequence_number == 0
        found += [attributes.number] * len(deposits)
    return sorted(found)


@asynccontextmanager
async def censored(directory: Path, censor: Sequence[str], others: Sequence[str] = ()) -> AsyncIterator[Censored]:
    """Four validators on a real L1, one of them run by `censoring_node.py`, the others too where `others` says how."""
    require_cometbft()
    anvil = Anvil(directory / "anvil")

    def command(home: Path) -> Sequence[str]:
        usual = node_command(home, "info")
        how = censor if home.name == CENSOR else others
        return (sys.executable, str(HERE / "censoring_node.py"), *how, *usual[3:]) if how else usual

    try:
        anvil.start()
        async with mined(anvil):
            layout, portal = await network_on(anvil, directory, [anvil.url] * len(NAMES))
            async with Supervisor.running(directory, layout, command=command) as supervisor:
                network = Censored(anvil, portal, supervisor, Validators(supervisor))

                async def begun() -> bool:
                    return all(len(chain) > 2 for chain in await network.validators.all_blocks())

                await until(begun, "all four nodes make blocks", 60)
                yield network
    finally:
        anvil.stop()


@pytest.mark.timeout(420)
async def test_blocks_opened_without_the_deposits_of_their_origin_are_refused_by_all_others(tmp_path: Path) -> None:
    """A deposit in every L1 block until the censor had to open the first block of one: `ledger_root_wrong` in the log
    of each other validator, and every deposit arrives in the first block of its origin all the same."""
    async with censored(tmp_path, ["drop-deposits"]) as network:
        sent: list[str] = []

        async def refused() -> bool:
            sent.append(await asyncio.to_thread(network.deposit, len(sent) + 1))
            await asyncio.sleep(0.5)
            return all(network.refusals(name, "ledger_root_wrong") for name in HONEST)

        await until(refused, "the three others refuse a block without its deposits", 90)
        assert not network.refusals(CENSOR, "ledger_root_wrong"), "it votes for what it made itself"
        await network.arrive(sent)
        await network.goes_on()


@pytest.mark.timeout(420)
async def test_a_proposer_that_withholds_overdue_facts_and_orders_transactions_is_refused_by_all_others(
    tmp_path: Path,
) -> None:
    """While the honest ones' L1 nodes are late with the facts, those propose nothing but empty sub-blocks; the censor
    orders a transfer and is refused with `l1_facts_withheld`. Heights are decided all the time. Once the facts come,
    the deposit is in the first block of its origin and the transfer is decided after it."""
    late = tmp_path / "late"
    async with censored(tmp_path, ["withhold-facts"], ["late-facts", str(late)]) as network:
        late.touch()
        deposit = await asyncio.to_thread(network.deposit, 1)
        wallet = Wallet(DEVELOPMENT_ACCOUNTS[0].private_key)

        sent: list[str] = []
        before = await network.height()

        async def refused() -> bool:
            """One transfer waits all the time: those before the facts are overdue are decided by anybody."""
            if not sent or await network.call("node1", "eth_getTransactionReceipt", sent[-1]) is not None:
                raw = wallet.sign_1559(ROLLUP, len(sent), to=b"\x5a" * 20, value=1, max_fee_per_gas=10**11)
                sent.append(await network.call(CENSOR, "eth_sendRawTransaction", "0x" + raw.hex()))
            return all(network.refusals(name, "l1_facts_withheld") for name in HONEST)

        await until(refused, "the three others refuse what the censor orders", 60)
        transfer = sent[-1]
        assert await network.height() > before, "no height was decided without the censor"
        chains = await network.validators.all_blocks()
        assert all(_deposited(chain) == [] for chain in chains)
        assert await network.call("node1", "eth_getTransactionReceipt", transfer) is None
        late.unlink()
        await network.arrive([deposit])

        async def decided() -> bool:
            found = [await network.call(name, "eth_getTransactionReceipt", transfer) for name in NAMES]
            return all(receipt is not None and receipt["status"] == "0x1" for receipt in found)

        await until(decided, "the transfer is decided", 60)
        await network.goes_on()
