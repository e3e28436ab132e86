"""Validators of a local network come and go by signed actions, as in any other network; the keys are the public
development accounts'.

A validator that joins is caught up before it stakes, and one that leaves runs until the others no longer count on it:
so neither costs the network a height.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.client import Client, NodeUnreachable, RpcError
from plait.client.ledger import act
from plait.errors import Unavailable
from plait.ledger.stake import possession_message
from plait.limits import TESTNET_MEMBERSHIP_S
from plait.native import ed25519_public_key, ed25519_sign
from plait.node.home import consensus_seed
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.layout import NodeEntry
from plait.types import Amount
from plait.types.action import CreateValidator, LeaveValidator
from plait.types.consensus import consensus_address

if TYPE_CHECKING:
    from plait.testnet.supervisor import Supervisor

STAKE: Final = Amount(500_000 * 10**18)
COMMISSION_PPM: Final = 50_000
_POLL_S: Final = 0.25


async def free_operator(network: Supervisor) -> int:
    """Index of a development account that never had a validator. Raises Unavailable (`accounts_used_up`)."""
    taken = {entry.operator for entry in network.layout.nodes}
    async with Client(network.any_url()) as client:
        for at, account in enumerate(DEVELOPMENT_ACCOUNTS):
            if at not in taken and not (await client.call("plait_getAccount", account.address_text))["isOperator"]:
                return at
    raise Unavailable("Every development account has or had a validator.", code="accounts_used_up")


async def become_validator(network: Supervisor, entry: NodeEntry) -> None:
    """Waits until a node has caught up, stakes for it, and waits until it is in the set.

    Raises:
        Unavailable: `node_behind`, `membership_unchanged`.
        ActionRefused, RpcError, NodeUnreachable: the ledger or the node refuses.
    """
    assert entry.operator is not None
    account = DEVELOPMENT_ACCOUNTS[entry.operator]
    url = str(network.members[entry.name].description["url"])
    await _until(
        lambda: _has_caught_up(url, network.any_url(but=entry.name)), f"{entry.name} catches up", code="node_behind"
    )
    seed = consensus_seed(_home(network, entry))
    body = CreateValidator(
        public_key=ed25519_public_key(seed),
        commission_ppm=COMMISSION_PPM,
        commission_max_ppm=4 * COMMISSION_PPM,
        commission_step_ppm=COMMISSION_PPM // 5,
        self_stake=STAKE,
        name=entry.name,
        possession=ed25519_sign(seed, possession_message(account.address)),
    )
    async with Client(network.any_url(but=entry.name)) as client:
        await act(client, account.private_key, body)
    await _until(
        lambda: _is_in_set(network, entry, wanted=True), f"{entry.name} is in the set", code="membership_unchanged"
    )


async def leave(network: Supervisor, entry: NodeEntry) -> None:
    """Takes a node's validator out of the set, and waits until it is out.

    Raises: as `become_validator`.
    """
    assert entry.operator is not None
    account = DEVELOPMENT_ACCOUNTS[entry.operator]
    async with Client(network.any_url(but=entry.name)) as client:
        found = await client.call("plait_getValidator", account.address_text)
        if found is not None and found["status"] != "leaving":
            await act(client, account.private_key, LeaveValidator())
    await _until(
        lambda: _is_in_set(network, entry, wanted=False), f"{entry.name} is out of the set", code="membership_unchanged"
    )


async def _has_caught_up(url: str, other_url: str) -> bool:
    async with Client(url) as own, Client(other_url) as other:
        there = int((await other.call("plait_slot"))["height"])
        return int((await own.call("plait_slot"))["height"]) >= there - 2


async def _is_in_set(network: Supervisor, entry: NodeEntry, *, wanted: bool) -> bool:
    """Whether the set that votes on the next height is as wanted, as another node's CometBFT knows it."""
    address = consensus_address(bytes.fromhex(entry.public_key[2:])).hex().upper()
    async with Client(network.comet_url(network.any_name(but=entry.name))) as comet:
        _, data = await comet.get("validators?per_page=100")
    found: list[dict[str, Any]] = msgspec.json.decode(data)["result"]["validators"]
    return (address in {one["address"] for one in found}) is wanted


async def _until(question: Callable[[], Awaitable[bool]], what: str, *, code: str) -> None:
    end = time.monotonic() + TESTNET_MEMBERSHIP_S
    while time.monotonic() < end:
        with contextlib.suppress(NodeUnreachable, RpcError):
            if await question():
                return
        await asyncio.sleep(_POLL_S)
    raise Unavailable(f"After {TESTNET_MEMBERSHIP_S} s it is still not so that {what}.", code=code)


def _home(network: Supervisor, entry: NodeEntry) -> Path:
    return network.data_dir / entry.name
