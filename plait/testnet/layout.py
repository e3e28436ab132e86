"""What the directory of a local network holds.

    testnet.json      the nodes: names, ports, whose stake they stand for
    network.json      the network that all of them belong to
    control           where the running supervisor takes commands (JSON: pid, path of a unix socket)
    NODE/             the home of a node; NODE/node.log is its log

Ports follow from the first one and the place of the node, unless the first one is 0: then free ones are chosen at
every start.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import tempfile
from pathlib import Path
from typing import IO, Final, TypeVar

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.errors import ConfigurationError
from plait.limits import TESTNET_NODES_MAX

TESTNET_FILE: Final = "testnet.json"
CONTROL_FILE: Final = "control"
ROLLUP_PORT_STRIDE: Final = 100
COMET_PORT_STRIDE: Final = 10
_FREE_PORTS: Final = range(10_000, 30_000)
_L = TypeVar("_L", bound=msgspec.Struct)


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node of the network. `place` is its number, from 1, never given twice."""

    name: str
    place: int
    node_id: str
    """By which peers know it (40 hex digits)."""
    public_key: str
    """That signs its votes, 0x hex."""
    operator: int | None
    """Index of the development account that answers for its stake; None while it only follows."""


class PortPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First ports, of the first node; 0 for free ones."""

    rpc: int
    rollups: int
    """The first rollup's own port on the first node; 0 with `rpc` not 0: none."""
    comet: int


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Of one node."""

    rpc: int
    rollups: int
    p2p: int
    comet_rpc: int

    @classmethod
    def of(cls, plan: PortPlan, place: int) -> Ports:
        """The ports of the node at a place."""
        at = place - 1
        if not plan.rpc:
            rpc, p2p, comet_rpc = free_ports(3)
            return cls(rpc=rpc, rollups=0, p2p=p2p, comet_rpc=comet_rpc)
        return cls(
            rpc=plan.rpc + at,
            rollups=plan.rollups + at * ROLLUP_PORT_STRIDE if plan.rollups else 0,
            p2p=plan.comet + at * COMET_PORT_STRIDE,
            comet_rpc=plan.comet + at * COMET_PORT_STRIDE + 1,
        )


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All nodes."""

    nodes: tuple[NodeEntry, ...]
    next_place: int
    ports: PortPlan

    def node(self, name: str) -> NodeEntry:
        """By name. Raises ConfigurationError (`node_unknown`) with the names there are."""
        for entry in self.nodes:
            if entry.name == name:
                return entry
        names = ", ".join(entry.name for entry in self.nodes)
        raise ConfigurationError(f"There is no node {name!r}; there are {names}.", code="node_unknown")

    def adding(self, entry: NodeEntry) -> Layout:
        """With one node more. Raises ConfigurationError (`node_count`)."""
        if len(self.nodes) >= TESTNET_NODES_MAX:
            raise ConfigurationError(
                f"A local network has {TESTNET_NODES_MAX} nodes at most; remove one first.", code="node_count"
            )
        return msgspec.structs.replace(self, nodes=(*self.nodes, entry), next_place=self.next_place + 1)

    def without(self, name: str) -> Layout:
        """With one node less."""
        return msgspec.structs.replace(self, nodes=tuple(entry for entry in self.nodes if entry.name != name))

    def write(self, data_dir: Path) -> None:
        """Keeps it in its directory; the file is complete or the old one."""
        keep(data_dir / TESTNET_FILE, self)


def read_layout(data_dir: Path) -> Layout | None:
    """Of a directory; None when it holds no network. Raises ConfigurationError (`configuration_invalid`)."""
    return kept(data_dir / TESTNET_FILE, Layout)


def keep(path: Path, layout: msgspec.Struct) -> None:
    """Writes a layout as JSON; the file is complete or the old one."""
    scratch = path.with_suffix(".new")
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(layout), indent=2) + b"\n")
    scratch.replace(path)


def kept(path: Path, kind: type[_L]) -> _L | None:
    """What `keep` wrote; None where there is nothing. Raises ConfigurationError (`configuration_invalid`)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        raise ConfigurationError(f"{path} cannot be read: {said(error)}. Start anew with --reset.") from error


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses at the moment, below those that systems give to outgoing connections, so
    that nobody gets one before its node listens. No other process that asks here gets them while this one lives."""
    found: list[int] = []
    for port in secrets.SystemRandom().sample(_FREE_PORTS, len(_FREE_PORTS)):
        if len(found) == count:
            break
        with contextlib.closing(socket.socket()) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _reserve(port):
            found.append(port)
    return found


def _reserve(port: int) -> bool:
    """Whether no other process has been given this port; a lock that ends with this process says so."""
    directory = Path(tempfile.gettempdir()) / f"plait-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    lock = (directory / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return False
    _RESERVED[port] = lock
    return True


_RESERVED: dict[int, IO[str]] = {}
"""Open lock files of the ports that this process was given."""
