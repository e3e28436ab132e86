"""What the directory of a local network of OP Stack rollups holds.

    opstack.json        its rollups, times and ports; written last, so without it there is no network
    l1/state.json       anvil's chain, written when it stops
    l1chain.json        the L1's own configuration, as op-node wants it
    ROLLUP/genesis.json, ROLLUP/rollup.json
                        what op-geth and op-node start from
    ROLLUP/engine, ROLLUP/verifier
                        databases of the op-geth that Plait drives and of the one that derives from L1
    node/               the data directory of Plait's node
    jwt.hex, batcher.key, reporter.key
                        secrets of this network, readable by their owner only
    logs/NAME.log, run/NAME.pid
                        of every program
    control             where the running supervisor takes commands

Ports follow from the first ones, unless the first one is 0: then free ones are chosen at every start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from plait.testnet.layout import free_ports, keep, kept

OPSTACK_FILE: Final = "opstack.json"
PROGRAM_PORT_STRIDE: Final = 10

BatchKind = Literal["singular", "span"]
PostingKind = Literal["calldata", "blob"]


class RollupEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rollup. Addresses are 0x hex on L1."""

    chain_id: int
    portal: str
    system_config: str


class PortPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First ports; `rpc` 0 for free ones everywhere."""

    rpc: int = 8_545
    """Plait's node."""
    rollups: int = 9_545
    """The first rollup's own port of Plait's node, the next one's follows; 0 for none."""
    l1: int = 18_545
    """anvil; its beacon face one further."""
    programs: int = 19_545
    """The first rollup's programs, the next one's PROGRAM_PORT_STRIDE further."""


class RollupPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Of one rollup's programs."""

    engine_http: int
    engine_auth: int
    verifier_http: int
    verifier_auth: int
    op_node: int


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Of a started network."""

    rpc: int
    rollups: int
    l1: int
    beacon: int
    programs: tuple[RollupPorts, ...]

    @classmethod
    def of(cls, plan: PortPlan, rollups: int) -> Ports:
        """The plan's ports, or free ones."""
        if plan.rpc:
            groups = [range(plan.programs + at * PROGRAM_PORT_STRIDE, plan.programs + 65_536) for at in range(rollups)]
            rpc, l1, beacon = plan.rpc, plan.l1, plan.l1 + 1
        else:
            rpc, l1, beacon, *others = free_ports(3 + 5 * rollups)
            groups = [others[5 * at :] for at in range(rollups)]  # type: ignore[misc]
        return cls(
            rpc=rpc,
            rollups=plan.rollups if plan.rpc else 0,
            l1=l1,
            beacon=beacon,
            programs=tuple(
                RollupPorts(
                    engine_http=group[0],
                    engine_auth=group[1],
                    verifier_http=group[2],
                    verifier_auth=group[3],
                    op_node=group[4],
                )
                for group in groups
            ),
        )


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network."""

    rollups: tuple[RollupEntry, ...]
    l1_chain_id: int
    l1_block_time_s: int
    l1_epoch_blocks: int
    """anvil's safe block lies so many behind its newest, the finalized one twice as many."""
    posting: PostingKind
    batch: BatchKind
    ports: PortPlan

    def write(self, directory: Path) -> None:
        """Keeps it; the file is complete or the old one."""
        keep(directory / OPSTACK_FILE, self)


def read_layout(directory: Path) -> Layout | None:
    """Of a directory; None when it holds no network. Raises ConfigurationError (`configuration_invalid`)."""
    return kept(directory / OPSTACK_FILE, Layout)


__all__ = ["OPSTACK_FILE", "BatchKind", "Layout", "PortPlan", "Ports", "PostingKind", "RollupEntry", "RollupPorts",
           "read_layout"]  # fmt: skip
