"""What faces need of a node, and nothing more; `plait.node.Node` has it. Level 5."""

from collections.abc import Callable, Mapping
from typing import Protocol

from plait.mempool import BundleStatus
from plait.protocol.views import Bus, RollupHandle
from plait.types import RollupId


class FaceBundles(Protocol):
    """The bundles that the node knows."""

    def listen(self, listener: Callable[[BundleStatus], None]) -> None:
        """Also calls `listener` when a bundle came, moved on, or went."""
        ...


class FaceHost(Protocol):
    """A node as its faces see it; everything belongs to the event loop's thread."""

    @property
    def rollups(self) -> Mapping[RollupId, RollupHandle]:
        """All rollups by id; a rollup's id is its chain id."""
        ...

    @property
    def bus(self) -> Bus:
        """Decided sub-blocks as they come."""
        ...

    @property
    def bundles(self) -> FaceBundles:
        """The bundles that are not decided yet, and what became of others."""
        ...
