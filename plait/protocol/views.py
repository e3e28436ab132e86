"""What every part that serves others needs of a node: its rollups, and its decided sub-blocks as they come.

The server and the faces of OP Stack components say what else they need where they are (rpc/backend.py,
rollups/opstack/faces/host.py); `plait.node.Node` has all of it. Level 4. Types only.
"""

from typing import Protocol

from plait.native import Rollup
from plait.protocol.effects import SubBlockDecided
from plait.types import RollupId, RollupParameters


class RollupHandle(Protocol):
    """A rollup of the node."""

    @property
    def rollup_id(self) -> RollupId:
        """Its id; equal to its chain id."""
        ...

    @property
    def native(self) -> Rollup:
        """Its state and blocks."""
        ...

    @property
    def parameters(self) -> RollupParameters:
        """As registered in the ledger."""
        ...

    @property
    def is_active(self) -> bool:
        """Whether this network orders it."""
        ...


class Effects(Protocol):
    """A subscription to decided sub-blocks."""

    @property
    def lagged(self) -> bool:
        """True when it ended because it fell behind."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...

    async def __anext__(self) -> SubBlockDecided:
        """The next one; StopAsyncIteration after `close`."""
        ...


class Bus(Protocol):
    """Where subscriptions come from."""

    def subscribe(self) -> Effects:
        """A new subscription."""
        ...


__all__ = ["Bus", "Effects", "RollupHandle"]
