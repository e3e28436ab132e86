"""PLAIT goes from a wallet on L1 into the ledger and back, over four real validators that checkpoint by themselves."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from contracts_l1 import CHAIN_ID, L1
from test_nodes_checkpoint import command, registry_of, settings, until
from validators import Registry, raw
from web3.contract import Contract

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "e2e" / "network"))
from running_network import require_cometbft

from plait.cli.keys import write_key
from plait.client import Client
from plait.client.staking import claim, withdraw
from plait.derivation.l1_facts import encode_l1_facts
from plait.errors import L1Refused
from plait.l1.client import L1Client
from plait.l1.facts import block_facts
from plait.l1.fees import blob_schedule
from plait.ledger.parameters import TOKEN
from plait.limits import L1_REORG_BLOCKS_MAX
from plait.node.config import AccountConfig, L1Config, NetworkConfig, RollupConfig, ValidatorConfig
from plait.node.home import join_network
from plait.node.node_file import NodeSettings
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.storage import NETWORK_FILE
from plait.testnet.founding import LEDGER, NETWORK_ID, STAKE, make_node
from plait.testnet.layout import Layout, PortPlan
from plait.testnet.supervisor import Supervisor
from plait.types import Address, Amount

pytestmark = [pytest.mark.slow, pytest.mark.cometbft, pytest.mark.node_js]

UNBONDING_S = 1_000
VALIDATORS = 4
WALLET, OTHER = DEVELOPMENT_ACCOUNTS[1], DEVELOPMENT_ACCOUNTS[6]


def contracts(l1: L1, layout: Layout) -> tuple[Registry, Contract, Contract]:
    """The registry of the network's first validators, the token, and the vault."""
    registry = registry_of(l1, layout)
    token = l1.deploy("PlaitToken", WALLET.address_text, 1_000 * TOKEN)
    return registry, token, l1.deploy("StakeVault", token.address, registry.contract.address, UNBONDING_S)


async def network_with(l1: L1, vault: Address, layout: Layout) -> NetworkConfig:
    """A network that agrees on L1 blocks from now on and credits the vault's deposits."""
    async with L1Client(l1.url) as client:
        header = await client.header("latest")
    assert header is not None
    start, _ = block_facts(header, (), (), blob_schedule(CHAIN_ID))
    return NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        network_id=NETWORK_ID,
        rollups=(RollupConfig(chain_id=901),),
        validators=tuple(
            ValidatorConfig(
                operator=DEVELOPMENT_ACCOUNTS[at].address_text, public_key=node.public_key, stake=STAKE, name=node.name
            )
            for at, node in enumerate(layout.nodes)
        ),
        accounts=(AccountConfig(address=OTHER.address_text, balance=TOKEN),),
        ledger=LEDGER,
        l1=L1Config(
            chain_id=CHAIN_ID,
            start="0x" + encode_l1_facts(start).hex(),
            block_time_s=1,
            vault="0x" + vault.hex(),
        ),
    )


async def test_stake_comes_in_works_and_goes_out(l1: L1, tmp_path: Path) -> None:
    """What is locked on L1 is credited once it is final, can be moved, and leaves by proof: to the last unit."""
    require_cometbft()
    nodes = tuple(make_node(tmp_path, at + 1, NodeSettings(pex=False), operator=at) for at in range(VALIDATORS))
    layout = Layout(nodes=nodes, next_place=VALIDATORS + 1, ports=PortPlan(rpc=0, rollups=0, comet=0))
    registry, token, contract = await asyncio.to_thread(contracts, l1, layout)
    vault = raw(contract.address)
    network = await network_with(l1, vault, layout)
    network.check()
    (tmp_path / NETWORK_FILE).write_bytes(network.encode())
    for at, node in enumerate(nodes):
        join_network(tmp_path / node.name, network)
        settings(l1, registry, tmp_path / node.name, at)
    layout.write(tmp_path)
    async with Supervisor.running(tmp_path, layout) as supervisor, L1Client(l1.url) as chain:
        urls = [supervisor.members[node.name].description["url"] for node in nodes]
        settings(l1, registry, tmp_path / nodes[0].name, 0, peers=urls[1:])
        await supervisor.restart(nodes[0].name)
        async with Client(urls[1], timeout_s=20) as client:

            async def balance(address: str) -> int:
                return int((await client.call("plait_getAccount", address))["balance"], 16)

            account = WALLET.address_text
            before = await balance(account)
            write_key(tmp_path / "keys", "wallet", WALLET.private_key)
            write_key(tmp_path / "keys", "other", OTHER.private_key)
            where = ["--vault", contract.address, "--l1", l1.url, "--keys-dir", str(tmp_path / "keys"), "--json"]
            await command("stake", "deposit", "300", "--from", "wallet", *where)
            assert token.functions.balanceOf(contract.address).call() == 300 * TOKEN
            # the payer's transactions make blocks too
            l1.rpc("anvil_mine", hex(L1_REORG_BLOCKS_MAX // 2))
            await asyncio.sleep(8)
            assert await balance(account) == before, "credited before it was final"
            l1.rpc("anvil_mine", hex(L1_REORG_BLOCKS_MAX))

            async def credited() -> bool:
                return await balance(account) == before + 300 * TOKEN

            await until(credited, "the credit of the deposit")

            recipient = raw(l1.accounts[7])
            requested = await withdraw(
                client,
                chain,
                ledger_key=WALLET.private_key,
                wallet_key=OTHER.private_key,
                vault=vault,
                recipient=recipient,
                amount=Amount(100 * TOKEN),
                wait_s=60,
            )
            assert requested.withdrawal.amount == 100 * TOKEN
            to = ["--to", l1.accounts[7], "--wait", "60", "--url", urls[1]]
            second = await command("stake", "withdraw", "20", "--from", "wallet", *to, *where)
            assert int(second["amount"], 16) == 20 * TOKEN
            with pytest.raises(L1Refused):
                await claim(chain, OTHER.private_key, vault, requested.withdrawal.number)
            l1.warp(UNBONDING_S + 1)
            await claim(chain, OTHER.private_key, vault, requested.withdrawal.number)
            await command("stake", "claim", str(second["withdrawal"]), "--from", "other", *where)
            assert token.functions.balanceOf(l1.accounts[7]).call() == 120 * TOKEN
            assert token.functions.balanceOf(contract.address).call() == 180 * TOKEN
            await same_on_all(supervisor, [node.name for node in nodes], account)


async def same_on_all(supervisor: Supervisor, names: list[str], account: str) -> None:
    """All nodes have the same balance of an account, at whatever height each is."""
    found: list[Any] = []
    for name in names:
        async with Client(supervisor.members[name].description["url"], timeout_s=20) as client:
            found.append((await client.call("plait_getAccount", account))["balance"])
    assert len(set(found)) == 1, found
