"""What a running local network tells and takes from outside: its description, its status, its table of commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from plait.client import Client, NodeUnreachable, RpcError
from plait.limits import TESTNET_STATUS_TIMEOUT_S
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet import membership
from plait.testnet.control import Command, serve_control
from plait.testnet.founding import join, make_node, network_of
from plait.testnet.member import Member
from plait.testnet.supervisor import Supervisor


def describe(network: Supervisor) -> dict[str, Any]:
    """What a program needs to know about the started network."""
    config = network_of(network.data_dir)
    return {
        "event": "ready",
        "pid": os.getpid(),
        "dataDir": str(network.data_dir.resolve()),
        "networkId": config.network_id,
        "genesisTime": config.genesis_time_s,
        "rollups": [rollup.chain_id for rollup in config.rollups],
        "nodes": [describe_node(network, member) for member in network.members.values()],
        "accounts": [
            {"address": account.address_text, "privateKey": "0x" + account.private_key.hex()}
            for account in DEVELOPMENT_ACCOUNTS[: config.development_accounts]
        ],
    }


def describe_node(network: Supervisor, member: Member) -> dict[str, Any]:
    """Addresses of one node."""
    return {
        "name": member.name,
        "url": member.description.get("url"),
        "rollups": {str(one["chainId"]): one["url"] for one in member.description.get("rollups", ())},
        "ownPorts": {str(one["chainId"]): one["ownPortUrl"] for one in member.description.get("rollups", ())},
        "cometUrl": network.comet_url(member.name),
        "home": str(member.home.resolve()),
    }


# ---------------------------------------------------------------- status
async def status(network: Supervisor) -> dict[str, Any]:
    """Every node's state and height, and whether all that answer agree at the highest height that all have.

    `agree` is None when fewer than two nodes answer.
    """
    nodes = await asyncio.gather(*(_node_status(network, member) for member in network.members.values()))
    answering = [node for node in nodes if node["height"]]
    agree: bool | None = None
    if len(answering) > 1:
        height = min(node["height"] for node in answering)
        hashes = await asyncio.gather(*(app_hash_at(node["url"], height) for node in answering))
        known = {one for one in hashes if one is not None}
        agree = len(known) == 1 if known else None
    return {"nodes": nodes, "brokenLinks": network.broken_links(), "agree": agree}


async def _node_status(network: Supervisor, member: Member) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": member.name,
        "state": member.state,
        "pid": member.pid,
        "exitCode": member.exit_code,
        "url": member.description.get("url"),
        "height": None,
        "appHash": None,
        "ready": False,
        "peers": None,
        "power": None,
    }
    if member.state == "died":
        found["reason"] = member.last_words()
    if member.state != "running":
        return found
    with contextlib.suppress(NodeUnreachable, RpcError):
        async with Client(found["url"], timeout_s=TESTNET_STATUS_TIMEOUT_S) as client:
            info, slot, health = await client.batch(
                [("plait_networkInfo", ()), ("plait_slot", ()), ("plait_health", ())]
            )
            if not isinstance(info, RpcError) and not isinstance(slot, RpcError):
                found["height"], found["appHash"] = slot["height"], info["appHash"]
            found["ready"] = not isinstance(health, RpcError) and bool(health["ready"])
    with contextlib.suppress(NodeUnreachable, KeyError, TypeError, ValueError):
        async with Client(network.comet_url(member.name), timeout_s=TESTNET_STATUS_TIMEOUT_S) as comet:
            _, peers = await comet.get("net_info")
            _, own = await comet.get("status")
            found["peers"] = int(msgspec.json.decode(peers)["result"]["n_peers"])
            found["power"] = int(msgspec.json.decode(own)["result"]["validator_info"]["voting_power"])
    return found


async def app_hash_at(url: str, height: int) -> str | None:
    """The app hash that a node reports for a decided height; None when it does not answer."""
    with contextlib.suppress(NodeUnreachable, RpcError, TypeError):
        async with Client(url, timeout_s=TESTNET_STATUS_TIMEOUT_S) as client:
            found = await client.call("plait_getSubBlock", height)
            return str(found["appHash"])
    return None


# ---------------------------------------------------------------- commands
@contextlib.asynccontextmanager
async def commands_of(network: Supervisor, stop: asyncio.Event) -> AsyncIterator[None]:
    """Takes commands on the control socket within the block. `stop` is set when one asks for the end."""

    async def stop_all() -> None:
        """Ends the whole network."""
        stop.set()

    async def add(validator: bool = False) -> dict[str, Any]:
        """One node more; answers its addresses."""
        return await add_node(network, validator=validator)

    async def remove(node: str) -> None:
        """One node less."""
        await remove_node(network, node)

    async def tell_status() -> dict[str, Any]:
        """How all nodes are."""
        return await status(network)

    async def tell_description() -> dict[str, Any]:
        """What was told at the start, as it is now."""
        return describe(network)

    commands: dict[str, Command] = {
        "status": tell_status,
        "describe": tell_description,
        "start": network.start,
        "stop": network.stop,
        "restart": network.restart,
        "stop_all": stop_all,
        "add": add,
        "remove": remove,
        "kill": network.kill,
        "pause": network.pause,
        "resume": network.resume,
        "disconnect": network.disconnect,
        "connect": network.connect,
        "partition": network.partition,
        "heal": network.heal,
    }
    async with serve_control(network.data_dir, commands):
        yield


async def add_node(network: Supervisor, *, validator: bool) -> dict[str, Any]:
    """One node more; with `validator`, a development account that has no validator stakes for it.

    Raises:
        Unavailable: no account is free, the node does not start or does not catch up, the ledger refuses.
    """
    operator = await membership.free_operator(network) if validator else None
    place = network.layout.next_place
    entry = await asyncio.to_thread(make_node, network.data_dir, place, network.settings, operator=operator)
    await asyncio.to_thread(join, network.data_dir, entry.name)
    await network.add(entry)
    if operator is not None:
        await membership.become_validator(network, entry)
    return describe_node(network, network.members[entry.name])


async def remove_node(network: Supervisor, name: str) -> None:
    """One node less: its validator leaves first, so that the others do not count on it.

    Raises:
        Unavailable: the ledger refuses, or nobody is left to ask.
    """
    entry = network.layout.node(name)
    if entry.operator is not None:
        await membership.leave(network, entry)
    await network.remove(name)
