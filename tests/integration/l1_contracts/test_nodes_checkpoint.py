"""Four real validators sign checkpoints and sets by themselves, and one of them pays: on real CometBFT and anvil."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from contracts_l1 import CHAIN_ID, L1
from validators import Member, Registry, address_of, key_of, raw

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "e2e" / "network"))
from running_network import require_cometbft

from plait.client import Client, NodeUnreachable, RpcError
from plait.client.ledger import act
from plait.l1.attestations import AttestedValidator, L1Contract, attester_digest, in_order
from plait.ledger.parameters import TOKEN
from plait.native import sign_digest
from plait.node.opstack_file import OPSTACK_FILE
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.founding import BALANCE, LEDGER, NETWORK_ID, STAKE, Founding, found
from plait.testnet.layout import Layout, PortPlan
from plait.testnet.supervisor import Supervisor
from plait.types import Amount
from plait.types.action import Delegate

pytestmark = [pytest.mark.slow, pytest.mark.cometbft, pytest.mark.node_js]

INTERVAL = 8
APPOINTED = 3
"""This validator's operator appointed another key."""
PAYER = DEVELOPMENT_ACCOUNTS[9]


def settings(l1: L1, registry: Registry, home: Path, at: int, *, peers: list[str] | None = None) -> None:
    """opstack.toml and keys of the validator at a place; it pays when it is told whom to ask."""
    key = key_of(77) if at == APPOINTED else DEVELOPMENT_ACCOUNTS[at].private_key
    keys = {"attester.key": key, "payer.key": PAYER.private_key}
    paying = "" if peers is None else f'payer_key_file = "payer.key"\npeers = {peers!r}\n'.replace("'", '"')
    text = (
        f'[l1]\nrpc_url = "{l1.url}"\n\n[attester]\nregistry = "{registry.contract.address}"\n'
        f'key_file = "attester.key"\ninterval_heights = {INTERVAL}\nchain_id = {CHAIN_ID}\n{paying}'
    )
    for name, content in {OPSTACK_FILE: text, **{name: one.hex() for name, one in keys.items()}}.items():
        path = home / name
        path.write_text(content)
        path.chmod(0o600)


def registry_of(l1: L1, layout: Layout) -> Registry:
    """A registry that begins with the network's first validators, one of whom appointed another key."""
    keys = {
        AttestedValidator(
            DEVELOPMENT_ACCOUNTS[at].address, bytes.fromhex(node.public_key[2:]), STAKE // TOKEN
        ): DEVELOPMENT_ACCOUNTS[at].private_key
        for at, node in enumerate(layout.nodes)
    }
    registry = Registry(l1, network=NETWORK_ID, some=[Member(one, keys[one]) for one in in_order(keys)])
    digest = attester_digest(
        L1Contract(CHAIN_ID, raw(registry.contract.address)),
        operator=DEVELOPMENT_ACCOUNTS[APPOINTED].address,
        attester=address_of(key_of(77)),
        nonce=0,
    )
    signature = bytearray(sign_digest(key_of(77), digest))
    signature[64] += 27
    attester = l1.web3.to_checksum_address("0x" + address_of(key_of(77)).hex())
    l1.send(registry.functions.appointAttester(attester, bytes(signature)), sender=APPOINTED)
    return registry


async def until(condition: Callable[[], Awaitable[Any]], what: str, seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = await condition()
        except (NodeUnreachable, RpcError):
            found = None
        if found:
            return found
        await asyncio.sleep(0.3)
    raise AssertionError(f"not within {seconds} s: {what}")


async def ask(supervisor: Supervisor, node: str, method: str, *params: Any) -> Any:
    async with Client(supervisor.members[node].description["url"], timeout_s=20) as client:
        return await client.call(method, *params)


async def test_validators_checkpoint_their_network_and_follow_it_into_a_new_set(l1: L1, tmp_path: Path) -> None:
    """Every checkpoint is the decided state, each set is CometBFT's own, and a killed payer goes on."""
    require_cometbft()
    layout = found(tmp_path, Founding(rollups=1, ports=PortPlan(rpc=0, rollups=0, comet=0), ledger=LEDGER))
    registry = await asyncio.to_thread(registry_of, l1, layout)
    for at, node in enumerate(layout.nodes):
        settings(l1, registry, tmp_path / node.name, at)
    async with Supervisor.running(tmp_path, layout) as supervisor:
        names = [node.name for node in layout.nodes]
        urls = [supervisor.members[name].description["url"] for name in names[1:]]
        settings(l1, registry, tmp_path / names[0], 0, peers=urls)
        await supervisor.restart(names[0])

        async def committed(above: int) -> int | None:
            head = (await ask(supervisor, names[1], "plait_networkInfo"))["height"]
            for height in range(head - head % INTERVAL, above, -INTERVAL):
                held = await asyncio.to_thread(registry.functions.appHashOf(height).call)
                if any(held):
                    for name in names:
                        shown = await ask(supervisor, name, "plait_getSubBlock", height)
                        assert shown["appHash"] == "0x" + held.hex()
                    return height
            return None

        first = await until(lambda: committed(0), "a checkpoint")
        await prove_an_account(supervisor, names[1], registry)

        await supervisor.kill(names[0])
        await asyncio.sleep(2)
        await supervisor.start(names[0])
        await until(lambda: committed(first), "a checkpoint after the payer was killed")

        async with Client(supervisor.members[names[1]].description["url"]) as client:
            delegate = Delegate(validator=DEVELOPMENT_ACCOUNTS[1].address, amount=Amount(BALANCE // 2))
            await act(client, DEVELOPMENT_ACCOUNTS[5].private_key, delegate, wait_s=30)

        async def renewed() -> bool:
            return await asyncio.to_thread(registry.functions.epoch().call) > 1

        await until(renewed, "the set after the delegation")
        await same_set(supervisor, names[1], registry)
        status = await ask(supervisor, names[0], "plait_getL1Checkpoints")
        assert not status["alarms"], status
        after = await until(lambda: committed(first + INTERVAL), "a checkpoint of the new set")
        assert after > first
        await supervisor.stop(names[0])
        await by_hand(l1, registry, urls, tmp_path)


async def by_hand(l1: L1, registry: Registry, urls: list[str], directory: Path) -> None:
    """Without a node that pays anybody gathers from three of four, pays, and sees it on L1."""
    key = directory / "anybody.key"
    key.write_text(DEVELOPMENT_ACCOUNTS[8].private_key.hex())
    key.chmod(0o600)
    where = ["--l1", l1.url, "--registry", registry.contract.address, "--json"]
    nodes = [part for url in urls for part in ("--node", url)]
    done = await command("l1", "checkpoint", *where, *nodes, "--payer", str(key), "--wait", "60")
    kind, height = done["committed"].split()[:2]
    assert kind in ("checkpoint", "set")
    shown = await command("l1", "status", *where, "--height", height)
    assert shown["networkId"] == NETWORK_ID
    assert shown["epoch"] == await asyncio.to_thread(registry.functions.epoch().call)
    if kind == "checkpoint":
        held = await asyncio.to_thread(registry.functions.appHashOf(int(height)).call)
        assert shown["checkpoints"] == {height: "0x" + held.hex()}


async def command(*arguments: str) -> Any:
    """What a command of `plait` answers as JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "plait.cli.main", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, output
    return json.loads(output)


async def prove_an_account(supervisor: Supervisor, node: str, registry: Registry) -> None:
    """A ledger account is shown to the registry with what a node that does not pay serves."""
    account = DEVELOPMENT_ACCOUNTS[7].address_text

    async def served() -> Any:
        return await ask(supervisor, node, "plait_getL1AccountProof", account)

    answer = await until(served, "a proof of an account")
    proof, bucket = answer["proof"], answer["proof"]["bucket"]
    shown = (
        proof["row"],
        (bucket["index"], bucket["count"], bucket["path"]),
        proof["branchPaths"],
        proof["economyPath"],
        proof["ledgerLeaves"],
        proof["ledgerPath"],
    )
    where = (answer["checkpoint"], answer["headers"])
    balance, nonce = await asyncio.to_thread(registry.functions.verifyAccount(where, account, shown).call)
    assert (balance, nonce) == (BALANCE, 0)


async def same_set(supervisor: Supervisor, node: str, registry: Registry) -> None:
    """The hash that the registry computed is the one in CometBFT's header of the height from which the set acts."""
    epoch = await asyncio.to_thread(registry.functions.epoch().call)
    _, validators_hash, _, height, _ = await asyncio.to_thread(registry.functions.commitments(epoch).call)
    block = await ask(supervisor, node, "plait_getLightBlock", height)
    assert block["signed_header"]["header"]["validators_hash"].lower() == validators_hash.hex()
