"""What faces need of a node, and nothing more; `plait.node.Node` has it. Level 5."""

from collections.abc import Callable, Mapping
from typing import Protocol

from plait.mempool import BundleStatus
from plait.native import Rollup
from plait.protocol.effects import SubBlockDecided
from plait.types import RollupId, RollupParameters


class FaceRollup(Protocol):
    """A rollup of the node."""

    @property
    def native(self) -> Rollup:
        """Its state and blocks."""
        ...

    @property
    def parameters(self) -> RollupParameters:
        """As registered."""
        ...

    @property
    def is_active(self) -> bool:
        """Whether this network orders it."""
        ...


class FaceEffects(Protocol):
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


class FaceBus(Protocol):
    """Where subscriptions come from."""

    def subscribe(self) -> FaceEffects:
        """A new subscription."""
        ...


class FaceBundles(Protocol):
    """The bundles that the node knows."""

    def listen(self, listener: Callable[[BundleStatus], None]) -> None:
        """Also calls `listener` when a bundle came, moved on, or went."""
        ...


class FaceHost(Protocol):
    """A node as its faces see it; everything belongs to the event loop's thread."""

    @property
    def rollups(self) -> Mapping[RollupId, FaceRollup]:
        """All rollups by id; a rollup's id is its chain id."""
        ...

    @property
    def bus(self) -> FaceBus:
        """Decided sub-blocks as they come."""
        ...

    @property
    def bundles(self) -> FaceBundles:
        """The bundles that are not decided yet, and what became of others."""
        ...
