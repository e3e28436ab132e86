"""Validators of a local network come and go by signed actions, as in any other network; the keys are the public
development accounts'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.errors import Unavailable
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.layout import Layout, NodeEntry

if TYPE_CHECKING:
    from plait.testnet.supervisor import Supervisor


def free_operator(layout: Layout) -> int:
    """Index of a development account that answers for no node. Raises Unavailable (`accounts_used_up`)."""
    taken = {entry.operator for entry in layout.nodes}
    for at in range(len(DEVELOPMENT_ACCOUNTS)):
        if at not in taken:
            return at
    raise Unavailable("Every development account answers for a validator already.", code="accounts_used_up")


async def become_validator(network: Supervisor, entry: NodeEntry) -> None:
    """Stakes for a node that runs."""
    raise Unavailable("Joining is not there yet.", code="not_there")


async def leave(network: Supervisor, entry: NodeEntry) -> None:
    """Takes a node's validator out of the set."""
    raise Unavailable("Leaving is not there yet.", code="not_there")
