"""Plait's node of a local network of OP Stack rollups, as a process of its own: one sequencer that decides alone.

It says where it listens in one line of JSON when it serves, and stops with SIGTERM or when its standard input ends, so
that it does not outlive its supervisor.
"""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import msgspec

from plait.node.config import BatcherSettings, EngineConnection, L1Connection, NodeConfig
from plait.node.node import Node
from plait.rollups.opstack.faces.settings import FACES_FILE, FacesSettings, read_faces
from plait.storage import NETWORK_FILE
from plait.testnet.founding import network_of
from plait.testnet.opstack.layout import Layout, Ports, read_layout
from plait.types import RollupId

HOST = "127.0.0.1"


def node_config(directory: Path, layout: Layout, ports: Ports) -> NodeConfig:
    """What the node is told: its L1, one engine for each rollup, and that it posts."""
    faces = directory / FACES_FILE
    return NodeConfig(
        data_dir=directory / "node",
        faces=read_faces(faces) if faces.exists() else FacesSettings(),
        port=ports.rpc,
        rollup_port_base=ports.rollups or None,
        log_format="json",
        l1=L1Connection(
            rpc_url=f"http://{HOST}:{ports.l1}",
            beacon_url=f"http://{HOST}:{ports.beacon}",
            reporter_key=directory / "reporter.key",
        ),
        engines=tuple(
            EngineConnection(
                chain_id=entry.chain_id,
                engine_url=f"http://{HOST}:{one.engine_auth}",
                rpc_url=f"http://{HOST}:{one.engine_http}",
                jwt_file=directory / "jwt.hex",
            )
            for entry, one in zip(layout.rollups, ports.programs, strict=True)
        ),
        batcher=BatcherSettings(
            key_file=directory / "batcher.key",
            data=layout.posting,
            batch=layout.batch,
            interval_s=max(2, 2 * layout.l1_block_time_s),
        ),
    )


async def run_node(directory: Path, ports_json: str) -> None:
    """Runs the node and its server until a signal or the end of standard input."""
    from plait.cli.devnet import describe, stopping_on_signals
    from plait.cli.node import stopping_with_stdin
    from plait.cli.output import print_json
    from plait.rpc import RpcConfig, serve

    layout = read_layout(directory)
    assert layout is not None, f"the supervisor has written {NETWORK_FILE} before"
    network = network_of(directory)
    config = node_config(directory, layout, msgspec.json.decode(ports_json, type=Ports))
    genesis = {
        RollupId(entry.chain_id): (directory / str(entry.chain_id) / "genesis.json").read_bytes()
        for entry in layout.rollups
    }
    rpc = RpcConfig(host=config.host, port=config.port, rollup_port_base=config.rollup_port_base)
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(Node.start(network, config, genesis=genesis))
        stack.enter_context(stopping_on_signals(node))
        await stack.enter_async_context(stopping_with_stdin(node))
        server = await stack.enter_async_context(serve(node, rpc))
        print_json(describe(node, server))
        gc.collect()
        gc.freeze()
        await node.stopped()


__all__ = ["node_config", "run_node"]
