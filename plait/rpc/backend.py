"""What the server needs of a node, and nothing more; `plait.node.Node` has it.

Level 7.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from plait.execution.messages import InteropSets
from plait.execution.relaying import Relayer
from plait.ledger.economy import Economy
from plait.ledger.l1 import L1State
from plait.mempool import BundlePool, Pool
from plait.mempool.actions import ActionPool
from plait.node.config import NodeConfig
from plait.node.l1_checkpoints import L1Checkpoints
from plait.node.message_book import MessageBook
from plait.node.settlement import Settlement
from plait.protocol.requests import ApplicationInfo
from plait.protocol.views import Bus, RollupHandle
from plait.rollups.opstack.driver_state import EngineStatus
from plait.storage.record import DecidedRecord
from plait.types import Height, Milliseconds, NetworkParameters, RollupId, Slot


class Log(Protocol):
    """The decided log, for reading."""

    @property
    def height(self) -> Height:
        """The last one."""
        ...

    @property
    def first_height(self) -> Height:
        """The first one kept."""
        ...

    def read(self, height: Height) -> DecidedRecord | None:
        """One sub-block."""
        ...

    def iterate(self, from_height: Height = ..., to_height: Height | None = None) -> Iterator[DecidedRecord]:
        """Sub-blocks in order."""
        ...

    def heights_of_slot(self, slot: Slot) -> range:
        """The sub-blocks of a slot."""
        ...


class Clock(Protocol):
    """The node's clock."""

    def now_ms(self) -> Milliseconds:
        """Unix milliseconds, never decreasing."""
        ...


class Statistics(Protocol):
    """Where parts of the node register their counters."""

    def add(self, prefix: str, read: Callable[[], Mapping[str, int | float]]) -> None:
        """Exposes every number of `read()` as `plait_<prefix>_<name>`."""
        ...


class Metrics(Protocol):
    """The node's metrics."""

    @property
    def statistics(self) -> Statistics:
        """Where the server's own counters go."""
        ...

    @property
    def registry(self) -> CollectorRegistry:
        """Where those with labels go."""
        ...

    def render(self) -> bytes:
        """In Prometheus' text format."""
        ...


class Health(Protocol):
    """Whether the node does its work."""

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        ...

    @property
    def ready(self) -> bool:
        """It decides sub-blocks."""
        ...

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong, one sentence each."""
        ...


class Comet(Protocol):
    """CometBFT's own RPC, as far as light clients need it."""

    async def commit(self, height: int | None = None) -> dict[str, Any]:
        """Header and commit of a height, the newest for None."""
        ...

    async def validators(self, height: int | None = None, page: int = 1, per_page: int = 100) -> dict[str, Any]:
        """A page of the validator set of a height."""
        ...


class Backend(Protocol):
    """A node as the server sees it. All methods belong to the event loop's thread."""

    @property
    def version(self) -> str:
        """Of Plait."""
        ...

    @property
    def config(self) -> NodeConfig:
        """Local settings."""
        ...

    @property
    def parameters(self) -> NetworkParameters:
        """Of the network."""
        ...

    @property
    def rollups(self) -> Mapping[RollupId, RollupHandle]:
        """All rollups."""
        ...

    @property
    def pool(self) -> Pool:
        """The transactions that are not decided yet."""
        ...

    @property
    def interop_sets(self) -> InteropSets:
        """The interop set of every rollup that belongs to one."""
        ...

    @property
    def relayer(self) -> Relayer | None:
        """Who delivers messages for this node; None when nobody does."""
        ...

    @property
    def messages(self) -> MessageBook:
        """Messages between rollups that this node saw."""
        ...

    @property
    def bundles(self) -> BundlePool:
        """The bundles that are not decided yet, and what became of others."""
        ...

    @property
    def actions(self) -> ActionPool:
        """The ledger actions that are not decided yet, and what became of others."""
        ...

    @property
    def log(self) -> Log:
        """The decided log."""
        ...

    @property
    def comet(self) -> Comet | None:
        """CometBFT's own RPC; None where one process orders."""
        ...

    @property
    def economy(self) -> Economy:
        """Accounts, stake, governance and registry, as committed."""
        ...

    @property
    def l1(self) -> L1State | None:
        """What is agreed about the L1; None where it is synthetic."""
        ...

    @property
    def settlement(self) -> Settlement | None:
        """How far an L1 has the rollups' blocks; None without one."""
        ...

    @property
    def checkpoints(self) -> L1Checkpoints | None:
        """What this node signs for L1; None where it has no attester."""
        ...

    @property
    def engines(self) -> Sequence[EngineStatus]:
        """The execution engines that are driven, by ascending chain id."""
        ...

    @property
    def bus(self) -> Bus:
        """Decided sub-blocks as they come."""
        ...

    @property
    def clock(self) -> Clock:
        """The node's clock."""
        ...

    @property
    def metrics(self) -> Metrics:
        """Metrics in text form."""
        ...

    def info(self) -> ApplicationInfo:
        """Where the committed state stands."""
        ...

    def health(self) -> Health:
        """Whether the node does its work."""
        ...
